"""Cars cut out of any photos."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from carvana.errors import UserError
from carvana.inference.config import PredictionConfig
from carvana.inference.cutouts import Cutout, CutoutFolder, find_photos
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import WeightedEnsemble


class Red:
    """A predictor whose map is the photo's red channel."""

    size, any_size, refiner = (40, 60), True, None

    def prepare(self, photo: str, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def predict(self, inputs: list[np.ndarray]) -> ProbabilityMaps:
        maps = np.stack(inputs)[:, None, ..., 0].astype(np.float32) / 255
        return ProbabilityMaps(maps, np.zeros(len(inputs)))


def _photo(size: tuple[int, int]) -> np.ndarray:
    """A blue photo whose left quarter is red."""
    photo = np.zeros((*size, 3), np.uint8)
    photo[..., 2] = 200
    photo[:, : size[1] // 4] = (255, 0, 100)
    return photo


def _cut(
    pattern: str, folder: Path, *, maps: bool = False, threshold: float = 0.5, hard: bool = False
) -> list[Cutout]:
    """Cut out the photos that are left to do."""
    cutouts = CutoutFolder(folder, PredictionConfig((), threshold), maps=maps, hard=hard)
    photos = cutouts.pending(find_photos([pattern]))
    return list(cutouts.cut_out(WeightedEnsemble((Red(),)), photos, lambda *_: None))


def _cut_again(pattern: str, folder: Path, **options: Any) -> list[str]:
    """Cut out the photos that are left to do, and return their names."""
    return [cutout.photo.name for cutout in _cut(pattern, folder, **options)]


def _save(path: Path, size: tuple[int, int] = (20, 30)) -> Path:
    """Save a photo."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(_photo(size)).save(path, "PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("hard", [False, True])
def test_any_photos_of_any_size(tmp_path: Path, hard: bool) -> None:
    sizes = {"wide.jpg": (80, 120), "portrait.png": (150, 90), "small.webp": (9, 12), "grey.bmp": (64, 64)}
    for name, size in sizes.items():
        Image.fromarray(_photo(size)).save(tmp_path / name)
    made = _cut(str(tmp_path / "*.*"), tmp_path / "out", maps=True, hard=hard)
    assert [cutout.photo.name for cutout in made] == sorted(sizes)
    for cutout in made:
        size = sizes[cutout.photo.name]
        assert cutout.size == size
        assert cutout.share == pytest.approx(0.25, abs=0.03)
        rgba = np.array(Image.open(cutout.cutout))
        mask = np.array(Image.open(cutout.mask))
        assert rgba.shape == (*size, 4)
        assert np.array_equal(rgba[..., 3], mask)
        assert (set(np.unique(mask)) == {0, 255}) == hard
        assert mask[:, : size[1] // 6].min() > 200
        assert mask[:, size[1] // 3 + 2 :].max() < 50
        assert abs(int(rgba[0, 0, 0]) - 255) < 8  # red is still red
        saved = cv2.imread(str(cutout.mask).replace("_mask", "_map"), cv2.IMREAD_GRAYSCALE)
        assert saved.size == pytest.approx(40 * 60, rel=0.05)
        assert (saved.shape[0] > saved.shape[1]) == (size[0] > size[1])


def test_finished_cutouts_are_left_alone(tmp_path: Path) -> None:
    photos, out = str(tmp_path / "photos"), tmp_path / "out"
    first, _ = _save(tmp_path / "photos" / "a.png"), _save(tmp_path / "photos" / "b.png")
    assert _cut_again(photos, out) == ["a.png", "b.png"]
    for file in (first, *out.iterdir()):
        os.utime(file, (0, 0))  # the content counts, not the time
    assert _cut_again(photos, out) == []
    assert _cut_again(photos, out, maps=True) == ["a.png", "b.png"]
    assert _cut_again(photos, out) == []
    (out / "b_mask.png").unlink()
    assert _cut_again(photos, out) == ["b.png"]
    _save(first, (30, 20))
    assert _cut_again(photos, out) == ["a.png"]
    assert _cut_again(photos, out, threshold=0.4) == ["a.png", "b.png"]
    assert _cut_again(photos, out, threshold=0.4) == []
    assert _cut_again(photos, out, threshold=0.4, hard=True) == ["a.png", "b.png"]


def test_a_cut_out_that_was_edited_is_kept(tmp_path: Path) -> None:
    photos, out = str(tmp_path / "photos"), tmp_path / "out"
    _save(tmp_path / "photos" / "a.jpg")
    _cut(photos, out)
    (out / "a.png").write_bytes(b"edited")
    _save(tmp_path / "photos" / "b.jpg")
    assert _cut_again(photos, out) == ["b.jpg"]
    with pytest.raises(UserError, match=r"a\.jpg: would overwrite .*a\.png"):
        _cut(photos, out, threshold=0.4)
    assert (out / "a.png").read_bytes() == b"edited"


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (["x.jpg", "x.png"], "*.jpg", r"x\.jpg: would overwrite .*x\.png"),
        (["x.jpg", "x_mask.png"], "*.jpg", r"x\.jpg: would overwrite .*x_mask\.png"),
        (["x.jpg", "x_map.png"], "*.jpg", r"x\.jpg: would overwrite .*x_map\.png"),
        (["x.png"], "*", r"x\.png: would overwrite the photo .*x\.png"),
        (["x.jpg", "x.png"], "*", r"x\.jpg: would overwrite the photo .*x\.png"),
        (["x.jpg", "x.jpeg"], "*", r"x\.jpeg and .*x\.jpg: would both become x\.png"),
        (["x.jpg", "x.JPG"], "*", r"x\.JPG and .*x\.jpg: would both become x\.png"),
        (["x.jpg", "X.jpg"], "*", r"X\.jpg and .*x\.jpg: would both become x\.png"),
        (["a.jpg", "a_mask.jpg"], "*", r"a\.jpg and .*a_mask\.jpg: would both become a_mask\.png"),
        (["a.jpg", "a_MAP.jpg"], "*", r"a\.jpg and .*a_MAP\.jpg: would both become a_MAP\.png"),
        (
            ["\u00e9.jpg", "e\u0301.jpg"],
            "*",
            "would both become",
        ),  # both are the letter e with an acute accent
    ],
)
def test_files_of_others_and_of_the_same_name_are_refused(
    tmp_path: Path, names: list[str], pattern: str, message: str
) -> None:
    """Photos are cut out into their own folder."""
    for name in names:
        _save(tmp_path / name)
    before = _content(tmp_path)
    with pytest.raises(UserError, match=message):
        _cut(str(tmp_path / pattern), tmp_path, maps=True)
    assert _content(tmp_path) == before


def test_photos_are_cut_out_beside_them(tmp_path: Path) -> None:
    _save(tmp_path / "a.jpg")
    assert _cut_again(str(tmp_path / "*.jpg"), tmp_path) == ["a.jpg"]
    _save(tmp_path / "a.jpg", (30, 20))
    assert _cut_again(str(tmp_path / "*.jpg"), tmp_path) == ["a.jpg"]


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"\xff\xfe\n", b"[]\n{}\nnull\n", b'{"file": 1, "sha256": 1, "source": 1}'],
)
def test_a_damaged_record_claims_no_file(tmp_path: Path, record: bytes) -> None:
    _save(tmp_path / "photos" / "a.jpg")
    _cut(str(tmp_path / "photos"), tmp_path / "out")
    (tmp_path / "out" / ".cutouts.jsonl").write_bytes(record)
    with pytest.raises(UserError, match=r"a\.jpg: would overwrite .*a\.png, which is no cut-out"):
        _cut(str(tmp_path / "photos"), tmp_path / "out")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("br[1]", ["br[1]/a.png", "br[1]/b.jpg"]),
        ("br[1]/*.jpg", ["br[1]/b.jpg"]),
        ("br[1]/a.png", ["br[1]/a.png"]),
        ("br[1]/**/*.png", ["br[1]/a.png", "br[1]/c*/d.png"]),
        ("br[1]/c*", ["br[1]/c*/d.png"]),
        ("br?1?/*.png", ["br[1]/a.png"]),
        ("br[12]/*.png", ["br2/e.png"]),
        ("[b]r2/*", ["br2/e.png"]),
        ("./br2//e.png", ["br2/e.png"]),
        ("[1].png", ["[1].png"]),
        ("*.png", ["[1].png"]),
    ],
)
def test_patterns_and_folders_with_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("br[1]/a.png", "br[1]/b.jpg", "br[1]/c*/d.png", "br[1]/cc/e.txt", "br2/e.png", "[1].png"):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).touch()
    photos = find_photos([pattern])
    assert [str(photo.path) for photo in photos] == found


@pytest.mark.parametrize(
    "pattern",
    [
        "~nouser/*.jpg",
        "~nouser",
        "none/*.jpg",
        "[",
        "[a",
        "[!a]",
        "***",
        "loop",
        "loop/*",
        "x" * 5_000,
        "empty",
        "empty/*",
    ],
)
def test_patterns_without_a_photo_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"^--images .*: names no photo"):
        find_photos([pattern])


def test_a_loop_of_links_among_the_cutouts_is_no_photo(tmp_path: Path) -> None:
    _save(tmp_path / "a.jpg")
    (tmp_path / "a.png").symlink_to("a.png")
    assert [photo.name for photo in find_photos([str(tmp_path)])] == ["a.jpg"]
    with pytest.raises(UserError, match=r"a\.jpg: would overwrite .*a\.png"):
        _cut(str(tmp_path / "*.jpg"), tmp_path)


def test_files_of_a_folder_that_are_no_images_are_left_out_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _save(tmp_path / "a.JPG")
    (tmp_path / "inner").mkdir()
    for name in ("notes.txt", "Thumbs.db", "manual.pdf", "README"):
        (tmp_path / name).touch()
    assert [photo.name for photo in find_photos([str(tmp_path)])] == ["a.JPG"]
    text = capsys.readouterr().out.replace("\n", "")
    assert text == f"{tmp_path}: README and 3 more left out, by name no image that can be read"
    assert len(find_photos([str(tmp_path / "*")])) == 5  # a pattern means what it says
    (tmp_path / "a.JPG").rename(tmp_path / "inner" / "a.jpg")
    with pytest.raises(UserError, match=r"names no photo.*/\*\*/\*\.jpg'$") as refused:
        find_photos([str(tmp_path)])
    advised = str(refused.value).split("'")[1]
    assert [photo.name for photo in find_photos([advised])] == ["a.jpg"]


def test_photos_that_cannot_be_cut_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no photo"):
        find_photos([str(tmp_path / "*.jpg")])
    photo = _save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(photo.read_bytes()[:40])
    with pytest.raises(UserError, match=r"b\.png: not an image that Pillow reads, or a damaged one$"):
        _cut(str(tmp_path), tmp_path / "out")
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [".cutouts.jsonl", "a.png", "a_mask.png"]
