"""Reading of photos and masks."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


CAR = np.zeros((6, 9), dtype=bool)
CAR[2:4, 3:] = True
NO_CAR, ALL_CAR = np.zeros_like(CAR), np.ones_like(CAR)


def _indexed(palette: list[int], indices: np.ndarray = CAR) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(palette)
    return image


def _levels(dark: int, bright: int, dtype: type = np.uint8, car: np.ndarray = CAR) -> Image.Image:
    return Image.fromarray(np.where(car, bright, dark).astype(dtype))


def _colours(dark: tuple[int, ...], bright: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(CAR[..., None], bright, dark).astype(np.uint8))


BLACK, WHITE, RED = [0, 0, 0], [255, 255, 255], [255, 0, 0]
SEVERAL_BLACKS = CAR.astype(np.uint8) + 2 * (np.arange(9) % 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (_indexed([*BLACK, *WHITE]), CAR),  # the competition's own
        (_indexed([*WHITE, *BLACK], ~CAR), CAR),  # the same, with the palette inverted
        (_indexed([*WHITE, *BLACK]), ~CAR),  # a black car on white is a mask of the background
        (_indexed([60] * 3 + [200] * 3), CAR),
        (_indexed([*BLACK, *WHITE, *BLACK, *WHITE], SEVERAL_BLACKS), CAR),
        (_indexed([*BLACK, *BLACK]), CAR),  # of indices without colours, as libraries save them
        (_indexed([*BLACK, *WHITE], NO_CAR), NO_CAR),
        (_indexed([*BLACK, *WHITE], ALL_CAR), ALL_CAR),
        (_indexed([*WHITE, *BLACK], NO_CAR), ALL_CAR),
        (_indexed([*WHITE, *WHITE], NO_CAR), ALL_CAR),
        (_indexed([*BLACK, *BLACK], NO_CAR), NO_CAR),
        (_indexed([*BLACK, *WHITE, *RED], NO_CAR), NO_CAR),  # a palette may have entries that no pixel has
        (_levels(0, 1), CAR),
        (_levels(0, 255), CAR),
        (_levels(40, 190), CAR),
        (_levels(0, 255, car=NO_CAR), NO_CAR),
        (_levels(0, 255, car=ALL_CAR), ALL_CAR),
        (_levels(0, 1, car=ALL_CAR), ALL_CAR),
        (_levels(0, 65_535, np.uint16), CAR),
        (Image.fromarray(CAR), CAR),
        (Image.fromarray(NO_CAR), NO_CAR),
        (_colours((0, 0, 0), (255, 255, 255)), CAR),
        (_colours((30, 30, 30), (220, 220, 220)), CAR),
        (_colours((0, 0, 0, 0), (255, 255, 255, 255)), CAR),
        (
            _colours((255, 255, 255, 0), (255, 255, 255, 255)),
            CAR,
        ),  # white, and transparent where there is no car
        (_colours((200, 10, 10, 0), (255, 255, 255, 255)), CAR),
        (_colours((0, 255), (255, 255)), CAR),
    ],
)
def test_the_brighter_of_two_greys_is_car(tmp_path: Path, image: Image.Image, expected: np.ndarray) -> None:
    for form in ("PNG", "GIF") if image.mode in ("P", "L", "1", "RGB") else ("PNG",):
        image.save(tmp_path / "x_mask.gif", form)
        mask = images.read_mask(tmp_path / "x_mask.gif")
        assert mask.dtype == bool
        assert np.array_equal(mask, expected), form


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (_levels(0, 128, car=ALL_CAR), "its pixels are 128, not two greys"),
        (_indexed([50] * 3 + [90] * 3, ALL_CAR), "its pixels are 90, not"),
        (_indexed([*WHITE, *WHITE]), "its pixels are 255, not"),
        (_indexed([*BLACK, *RED]), "its pixels are coloured, 0, not"),
        (_indexed([*WHITE, *BLACK, *BLACK], 1 + CAR), "its pixels are 0, not"),
        (_indexed([*BLACK, *WHITE, 9, 9, 9], SEVERAL_BLACKS % 3), "its pixels are 0, 9, 255, not"),
        (Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9)), "are 0, 1, 2, 3, 4 and 49 more, not"),
        (_colours((0, 0, 0), (255, 0, 0)), "its pixels are coloured, 0, not"),
        (_colours((0, 0, 0, 0), (0, 0, 0, 255)), "its pixels are transparent, 0, not"),
    ],
)
def test_other_images_are_no_masks(tmp_path: Path, image: Image.Image, reason: str) -> None:
    image.save(tmp_path / "x_mask.gif", "PNG")
    with pytest.raises(UserError, match=rf"x_mask\.gif: is not a mask; .*{reason}"):
        images.read_mask(tmp_path / "x_mask.gif")


def test_the_first_frame_is_the_mask(tmp_path: Path) -> None:
    others = [_indexed([*BLACK, *WHITE], ALL_CAR), _indexed([*WHITE, *RED])]
    _indexed([*BLACK, *WHITE]).save(tmp_path / "x_mask.gif", save_all=True, append_images=others)
    assert np.array_equal(images.read_mask(tmp_path / "x_mask.gif"), CAR)


def test_the_first_frame_is_the_photo(scene: np.ndarray, tmp_path: Path) -> None:
    frames = [Image.fromarray(scene), Image.fromarray(255 - scene)]
    for name in ("x.png", "x.webp", "x.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert np.array_equal(images.read_image(tmp_path / name), scene), name


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_photos_of_16_bits_keep_their_brightness(scene: np.ndarray, tmp_path: Path, ending: str) -> None:
    grey = scene[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / f"deep.{ending}")
    assert np.array_equal(images.read_image(tmp_path / f"deep.{ending}"), np.dstack([grey] * 3))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_photos_of_32_bits_are_refused(scene: np.ndarray, tmp_path: Path, dtype: type) -> None:
    Image.fromarray(scene[..., 0].astype(dtype)).save(tmp_path / "deep.tif")
    with pytest.raises(UserError, match=r"deep\.tif: has pixels of 32 bits"):
        images.read_image(tmp_path / "deep.tif")


def _png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and whose data is a few bytes."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"0"))]
    parts += [(b"IEND", b"")]
    chunks = [struct.pack(">I", len(body)) + kind + body for kind, body in parts]
    sums = [struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(a + b for a, b in zip(chunks, sums, strict=True))


def _gif_of(width: int, height: int) -> bytes:
    image = io.BytesIO()
    Image.new("P", (1, 1)).save(image, "GIF")
    size = struct.pack("<HH", width, height)
    data = image.getvalue()
    frame = data.index(b",", 13)
    return data[:6] + size + data[10 : frame + 5] + size + data[frame + 9 :]


def _jpeg_of(width: int, height: int) -> bytes:
    image = io.BytesIO()
    Image.new("RGB", (1, 1)).save(image, "JPEG")
    data = image.getvalue()
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (65_000, 4_000), (14_143, 14_143)])
@pytest.mark.parametrize("make", [_png_of, _gif_of, _jpeg_of])
def test_declared_sizes_are_limited(
    tmp_path: Path, make: Callable[[int, int], bytes], width: int, height: int
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(make(width, height))
    message = rf"bomb: is {width}x{height}; an image has at most 200 million pixels"
    readers = [images.read_image, lambda path: images.read_image_sizes(path, lambda size: [size])]
    readers += (
        [images.read_photo, images.photo_size] if make is _jpeg_of else [images.read_mask, images.mask_size]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns from 90 million pixels on
        for read in readers:
            with pytest.raises(UserError, match=message):
                read(path)


@pytest.mark.parametrize(("width", "height"), [(70_000, 10), (10, 1_000_000), (0, 5)])
def test_declared_sides_are_limited(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(_png_of(width, height))
    with pytest.raises(
        UserError, match=r"bomb\.png: (is .* on a side|not an image that Pillow reads, or a damaged one$)"
    ):
        images.read_image(tmp_path / "bomb.png")


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("a photo")


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 10**12)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("none"))


NO_IMAGE = "(not a whole JPEG|not an image that Pillow reads, or a damaged one$)"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_folder, r"cannot be read \(Is a directory\)"),
        (_loop, r"cannot be read \(Too many levels of symbolic links\)"),
        (_dangling, r"cannot be read \(No such file or directory\)"),
        (lambda path: None, r"cannot be read \(No such file or directory\)"),
        (_empty, NO_IMAGE),
        (_text, NO_IMAGE),
        (_pipe, r"cannot be read \(not a regular file\)"),
        (_huge, "has more than 2 GB"),
    ],
)
@pytest.mark.parametrize(
    "read", [images.read_photo, images.read_image, images.photo_size, images.read_mask, images.mask_size]
)
def test_what_is_no_image_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], None], read: Callable[[Path], object], reason: str
) -> None:
    make(tmp_path / "x.jpg")
    with pytest.raises(UserError, match=rf"x\.jpg: {reason}"):
        read(tmp_path / "x.jpg")


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_unknown_exif_orientation_changes_nothing(
    scene: np.ndarray, tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(scene, tmp_path / "odd.jpg", exif=exif)
    assert images.photo_size(path) == images.read_photo(path).shape[:2] == (90, 131)


def test_damaged_exif_data_changes_nothing(scene: np.ndarray, tmp_path: Path) -> None:
    path = _save(scene, tmp_path / "odd.jpg", exif=b"Exif\0\0" + b"\xff" * 40)
    assert images.photo_size(path) == images.read_photo(path).shape[:2] == (90, 131)


def _encoded(form: str, mode: str) -> bytes:
    pixels = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)
    image = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(image, form)
    return image.getvalue()


_IMAGES = [_encoded(*kind) for kind in (("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("GIF", "P"))]
_IMAGES += [_encoded(*kind) for kind in (("GIF", "1"), ("TIFF", "RGB"), ("WEBP", "RGB"), ("BMP", "RGB"))]


@settings(deadline=None)
@given(st.sampled_from(_IMAGES), st.data())
def test_a_damaged_image_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, image: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(image)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(image)))])
    for read in (
        images.read_photo,
        images.read_image,
        images.photo_size,
        images.read_mask,
        images.read_levels,
    ):
        try:
            read(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
