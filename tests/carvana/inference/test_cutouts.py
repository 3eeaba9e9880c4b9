"""Cars cut out of any photos."""

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from carvana.errors import UserError
from carvana.inference.config import PredictionConfig
from carvana.inference.cutouts import Cutout, cut_out, find_photos, pending
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


def _cut(pattern: str, folder: Path) -> list[Cutout]:
    photos = find_photos(pattern, folder)
    return list(cut_out(WeightedEnsemble((Red(),)), 0.5, photos, folder, maps=True, advance=lambda *_: None))


def test_any_photos_of_any_size(tmp_path: Path) -> None:
    sizes = {"wide.jpg": (80, 120), "portrait.png": (150, 90), "small.webp": (9, 12), "grey.bmp": (64, 64)}
    for name, size in sizes.items():
        Image.fromarray(_photo(size)).save(tmp_path / name)
    made = _cut(str(tmp_path / "*.*"), tmp_path / "out")
    assert [cutout.photo.name for cutout in made] == sorted(sizes)
    for cutout in made:
        size = sizes[cutout.photo.name]
        assert cutout.size == size
        assert cutout.share == pytest.approx(0.25, abs=0.03)
        rgba = np.array(Image.open(cutout.cutout))
        mask = np.array(Image.open(cutout.mask))
        assert rgba.shape == (*size, 4)
        assert np.array_equal(rgba[..., 3], mask)
        assert set(np.unique(mask)) == {0, 255}
        assert mask[:, : size[1] // 5].all()
        assert not mask[:, size[1] // 3 :].any()
        assert abs(int(rgba[0, 0, 0]) - 255) < 8  # red is still red
        saved = cv2.imread(str(cutout.mask).replace("_mask", "_map"), cv2.IMREAD_GRAYSCALE)
        assert saved.size == pytest.approx(40 * 60, rel=0.05)
        assert (saved.shape[0] > saved.shape[1]) == (size[0] > size[1])


def test_finished_cutouts_are_left_alone(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(_photo((20, 30))).save(tmp_path / name)
    photos = find_photos(str(tmp_path), tmp_path / "out")
    config = PredictionConfig((), 0.5)

    def left(config: PredictionConfig, maps: bool = False) -> list[str]:
        return [photo.name for photo in pending(config, photos, tmp_path / "out", maps=maps)]

    assert left(config) == ["a.png", "b.png"]
    list(
        cut_out(
            WeightedEnsemble((Red(),)), 0.5, photos, tmp_path / "out", maps=False, advance=lambda *_: None
        )
    )
    assert left(config) == []
    assert left(config, maps=True) == ["a.png", "b.png"]
    (tmp_path / "out" / "b_mask.png").unlink()
    assert left(config) == ["b.png"]
    os.utime(photos[0].path, (4e9, 4e9))  # changed since
    assert left(config) == ["a.png", "b.png"]
    time.sleep(0.02)
    assert left(PredictionConfig((), 0.4)) == ["a.png", "b.png"]


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
    photos = find_photos(pattern, Path("out"))
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
        find_photos(pattern, Path("out"))


def test_a_loop_of_links_among_the_cutouts_is_no_photo(tmp_path: Path) -> None:
    Image.fromarray(_photo((8, 8))).save(tmp_path / "a.jpg")
    (tmp_path / "a.png").symlink_to("a.png")
    assert [photo.name for photo in find_photos(str(tmp_path / "*.jpg"), tmp_path)] == ["a.jpg"]


def test_photos_that_cannot_be_cut_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no photo"):
        find_photos(str(tmp_path / "*.jpg"), tmp_path / "out")
    Image.fromarray(_photo((8, 8))).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: would be overwritten"):
        find_photos(str(tmp_path), tmp_path)
    Image.fromarray(_photo((8, 8))).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"would both become a\.png"):
        find_photos(str(tmp_path), tmp_path / "out")
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(UserError, match=r"b\.png: not a whole image"):
        _cut(str(tmp_path), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a_map.png", "a_mask.png"]
