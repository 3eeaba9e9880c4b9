"""Cars cut out of any photos."""

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from carvana.errors import UserError
from carvana.inference.config import PredictionConfig
from carvana.inference.cutouts import cut_out, fit_size, pending, photos_of
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import WeightedEnsemble


class Red:
    """A source whose map is a photo's red."""

    size, any_size = (40, 60), True

    def prepare(self, photo: str, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def predict(self, seen: list[np.ndarray]) -> ProbabilityMaps:
        return ProbabilityMaps(np.stack(seen)[:, None, ..., 0].astype(np.float32) / 255, np.zeros(len(seen)))


def _photo(size: tuple[int, int]) -> np.ndarray:
    """A blue photo whose left quarter is red."""
    photo = np.zeros((*size, 3), np.uint8)
    photo[..., 2] = 200
    photo[:, : size[1] // 4] = (255, 0, 100)
    return photo


def _cut(pattern: str, folder: Path, **options: bool) -> list:
    photos = photos_of(pattern, folder)
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
        kept = cv2.imread(str(cutout.mask).replace("_mask", "_map"), cv2.IMREAD_GRAYSCALE)
        assert kept.size == pytest.approx(40 * 60, rel=0.05)
        assert (kept.shape[0] > kept.shape[1]) == (size[0] > size[1])


@given(st.integers(20, 5000), st.integers(20, 5000))
def test_a_photo_keeps_its_shape(height: int, width: int) -> None:
    fitted = fit_size((height, width), (288, 432))
    assert fitted[0] * fitted[1] == pytest.approx(288 * 432, rel=0.06)
    assert fitted[0] / fitted[1] == pytest.approx(height / width, rel=0.06)


def test_the_competitions_photos_are_seen_at_the_recipes_size() -> None:
    assert fit_size((1280, 1918), (288, 432)) == (288, 432)


def test_what_is_cut_out_already_is_left_alone(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(_photo((20, 30))).save(tmp_path / name)
    photos = photos_of(str(tmp_path), tmp_path / "out")
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


def test_what_cannot_be_cut_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no photo"):
        photos_of(str(tmp_path / "*.jpg"), tmp_path / "out")
    Image.fromarray(_photo((8, 8))).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: would be overwritten"):
        photos_of(str(tmp_path), tmp_path)
    Image.fromarray(_photo((8, 8))).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"would both become a\.png"):
        photos_of(str(tmp_path), tmp_path / "out")
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(UserError, match=r"b\.png: not a whole image"):
        _cut(str(tmp_path), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a_map.png", "a_mask.png"]
