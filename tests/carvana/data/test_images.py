"""Reading of photos and masks."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from carvana.data import images
from carvana.errors import UserError


@pytest.fixture
def scene() -> np.ndarray:
    """Create a smooth photo (90, 131, 3): red increases to the right, green downwards; blue marks the top left."""
    down, right = np.mgrid[0:90, 0:131]
    photo = np.stack([right * 255 / 130, down * 255 / 89, np.zeros_like(right)], axis=-1)
    photo[:30, :40, 2] = 200
    return photo.astype(np.uint8)


def _save(photo: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(photo).save(path, quality=95, subsampling=0, **options)
    return path


def test_photo_is_read_as_it_was_saved(scene: np.ndarray, tmp_path: Path) -> None:
    path = _save(scene, tmp_path / "photo.jpg")
    photo = images.read_photo(path)
    assert photo.dtype == np.uint8
    assert images.photo_size(path) == photo.shape[:2] == (90, 131)
    assert np.abs(photo.astype(int) - scene).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(scene: np.ndarray, tmp_path: Path, orientation: int) -> None:
    turned = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.swapaxes(0, 1),
        6: np.rot90(scene),
        7: scene[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(scene, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(np.ascontiguousarray(turned), tmp_path / "turned.jpg", exif=exif)
    assert images.photo_size(path) == (90, 131)
    assert np.abs(images.read_photo(path).astype(int) - scene).mean() < 2
    assert images.read_photo(path, (45, 65)).shape == (45, 65, 3)


def test_size_is_read_from_a_long_header(scene: np.ndarray, tmp_path: Path) -> None:
    path = _save(scene, tmp_path / "profiled.jpg", icc_profile=bytes(100_000))
    assert images.photo_size(path) == images.read_photo(path).shape[:2] == (90, 131)


def test_grey_photos_become_rgb(scene: np.ndarray, tmp_path: Path) -> None:
    grey = cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY)
    photo = images.read_photo(_save(grey, tmp_path / "grey.jpg"), (90, 131))
    assert np.abs(photo.astype(int) - grey[..., None]).mean() < 2


def test_cmyk_photos_become_rgb(scene: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(scene).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    photo = images.read_photo(tmp_path / "cmyk.jpg")
    assert np.abs(photo.astype(int) - scene).mean() < 4


@pytest.mark.parametrize("size", [(90, 131), (45, 66), (40, 60), (23, 33), (12, 17), (7, 9), (120, 180)])
def test_scaled_decoding_keeps_positions(scene: np.ndarray, tmp_path: Path, size: tuple[int, int]) -> None:
    """Red and green encode the position of a pixel, which must be that of a resize of the whole photo.

    131 columns at 1/8 are 16.4: a resize of the 17 decoded columns would shift the far side by half a pixel.
    """
    photo = images.read_photo(_save(scene, tmp_path / "photo.jpg"), size)
    right = (np.arange(size[1]) + 0.5) / size[1] * 131 - 0.5
    down = (np.arange(size[0]) + 0.5) / size[0] * 90 - 0.5
    inner = slice(1, -1)
    assert np.allclose(photo[inner, inner, 0].mean(axis=0), (right * 255 / 130)[inner], atol=3)
    assert np.allclose(photo[inner, inner, 1].mean(axis=1), (down * 255 / 89)[inner], atol=3)


@pytest.mark.parametrize("white", [1, 255])
def test_mask_pixels_may_be_1_or_255(tmp_path: Path, white: int) -> None:
    mask = np.zeros((6, 9), dtype=np.uint8)
    mask[2:4, 3:] = white
    Image.fromarray(mask, "P" if white == 1 else "L").save(tmp_path / "x_mask.gif")
    read = images.read_mask(tmp_path / "x_mask.gif")
    assert read.dtype == bool
    assert np.array_equal(read, mask > 0)
    assert images.mask_size(tmp_path / "x_mask.gif") == (6, 9)


def test_mask_coverage_is_the_covered_fraction() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, :3] = True
    assert images.mask_coverage(mask, (2, 2)).tolist() == [[255, 128], [255, 128]]


@pytest.mark.parametrize("left", [0, 50, 600])
def test_truncated_photo_is_refused(scene: np.ndarray, tmp_path: Path, left: int) -> None:
    path = _save(scene, tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"cut\.jpg: not a whole JPEG"):
        images.read_photo(path, (30, 40))


def test_truncated_mask_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(2, size=(60, 90), dtype=np.uint8)
    path = tmp_path / "cut_mask.gif"
    Image.fromarray(noise, "P").save(path)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match=r"cut_mask\.gif: not a whole GIF"):
        images.read_mask(path)
