"""Reading of photos and masks, at no more than the resolution that is needed.

A size is (height, width) in pixels. A photo is RGB, uint8, 0..255, (height, width, 3).
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from carvana.errors import UserError

_EXIF_ORIENTATION = 0x0112
_EXIF_MARK = b"Exif\0\0"
_HEADER_BYTES = 65_536
"""First bytes of a JPEG, which contain its header unless there is a large thumbnail or colour profile in it."""
_SCALES = (1, 2, 4, 8)
"""Scales, in eighths, at which libjpeg-turbo decodes fast: 7/8, for 1024x1536, takes 13 ms, the whole photo 5."""
_JPEG_MARK = b"\xff\xd8\xff"


def read_photo(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a JPEG photo (RGB, grey or CMYK), rotated by its EXIF orientation.

    Args:
        path: the JPEG file.
        size: the (height, width) to resize to; by default the photo's own. The JPEG is decoded at the smallest
            scale (1/8, 1/4, 1/2 or 1) that covers it, and then resized.

    Returns:
        (height, width, 3), uint8, RGB.

    Raises:
        UserError: the file is missing or is not a complete JPEG.
    """
    (photo,), _ = read_photo_sizes(path, [size])
    return photo


def read_photo_sizes(
    path: Path, sizes: Sequence[tuple[int, int] | None]
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Read a JPEG photo at several sizes, with one read of its file.

    Args:
        path: the JPEG file.
        sizes: (height, width) of each result; None for the photo's own size.

    Returns:
        The photos, each (height, width, 3), uint8, RGB, and the (height, width) of the file's photo.

    Raises:
        UserError: the file is missing or is not a complete JPEG.
    """
    data = _bytes(path)
    height, width, colours = _header(path, data)
    if colours in ("CMYK", "YCCK") or _orientation(data) != 1:
        photo = _read_by_pillow(path, data)
        return [photo if size is None else resize(photo, size) for size in sizes], photo.shape[:2]
    try:
        return [_decode(data, (height, width), size) for size in sizes], (height, width)
    except ValueError as error:
        raise _broken(path, error) from None


def read_image_sizes(
    path: Path, sizes_of: Callable[[tuple[int, int]], Sequence[tuple[int, int] | None]]
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Read an image of any kind at sizes that depend on its own, and return its own (height, width), too.

    A JPEG is decoded as `read_photo_sizes` does it, so that both give the same pixels.

    Args:
        path: the image file.
        sizes_of: maps the image's own (height, width) to the sizes, each as in `read_photo`.

    Raises:
        UserError: as `read_image`.
    """
    if _bytes(path, len(_JPEG_MARK)) == _JPEG_MARK:
        return read_photo_sizes(path, sizes_of(photo_size(path)))
    image = read_image(path)
    size = image.shape[0], image.shape[1]
    return [image if one is None else resize(image, one) for one in sizes_of(size)], size


def read_image(path: Path) -> np.ndarray:
    """Read an image of any format that Pillow supports, at its own size and rotated by its EXIF orientation.

    Returns:
        (height, width, 3), uint8, RGB; transparent pixels are blended with white.

    Raises:
        UserError: the file is missing or is not a complete image.
    """
    data = _bytes(path)
    if data.startswith(_JPEG_MARK):
        return read_photo(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: not a whole image ({error})") from None
    white = Image.new("RGBA", upright.size, "white")
    return np.array(Image.alpha_composite(white, upright).convert("RGB"))


def photo_size(path: Path) -> tuple[int, int]:
    """Read a JPEG photo's (height, width), after its EXIF rotation, from the file's header."""
    try:
        data = _bytes(path, _HEADER_BYTES)
        height, width, _ = _header(path, data)
    except UserError:  # the header is longer, or damaged
        data = _bytes(path)
        height, width, _ = _header(path, data)
    return (width, height) if _orientation(data) >= 5 else (height, width)


def read_mask(path: Path) -> np.ndarray:
    """Read a GIF mask with pixels 0 and 1 (or 0 and 255) as bool (height, width).

    Raises:
        UserError: the file is missing or is not a complete image.
    """
    with _opened_mask(path) as image:
        return np.asarray(image if image.mode == "P" else image.convert("L")) > 0


def mask_size(path: Path) -> tuple[int, int]:
    """Read a mask's (height, width) from the file's header."""
    with _opened_mask(path) as image:
        return image.height, image.width


def mask_coverage(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a bool mask (h, w) to its coverage of each pixel of `size` (height, width): uint8, 0..255."""
    return resize(mask.view(np.uint8) * np.uint8(255), size)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (h, w[, channels]) to `size` (height, width): area means to shrink, bilinear to enlarge."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@contextmanager
def _opened_mask(path: Path) -> Iterator[Image.Image]:
    """Open a mask, and raise errors of the file in the block as UserError."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise UserError(f"{path}: no such mask") from None
    except (OSError, EOFError, SyntaxError) as error:
        raise UserError(f"{path}: not a whole GIF ({error}); download it again") from None


def _bytes(path: Path, limit: int = -1) -> bytes:
    """Read the file, or its first `limit` bytes."""
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _header(path: Path, data: bytes) -> tuple[int, int, str]:
    """Parse a JPEG's height, width and colour space."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _broken(path, error) from None
    return height, width, colours


def _broken(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a whole JPEG ({error}); download it again")


def _orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; from 5 on, height and width are swapped."""
    if data.find(_EXIF_MARK, 0, _HEADER_BYTES) < 0:  # Pillow takes 0.5 ms, a third of a scaled decoding
        return 1
    return Image.open(io.BytesIO(data)).getexif().get(_EXIF_ORIENTATION, 1)


def _read_by_pillow(path: Path, data: bytes) -> np.ndarray:
    """Decode a photo that libjpeg-turbo does not rotate or convert. This is slow, but such photos are rare."""
    try:
        return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    except OSError as error:
        raise _broken(path, error) from None


def _decode(data: bytes, full: tuple[int, int], size: tuple[int, int] | None) -> np.ndarray:
    """Decode an upright RGB or grey JPEG of size `full` at the smallest scale that covers `size`, and resize it."""
    eighths = next((n for n in _SCALES if size and _covers(_scaled(full, n), size)), 8)
    height, width = _scaled(full, eighths)
    photo = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    # Scaled decoding rounds up: 1918 columns at 2/8 are 480, of which the photo fills 479.5.
    return photo if size is None else _resize_filled(photo, [side * eighths / 8 for side in full], size)


def _scaled(full: tuple[int, int], eighths: int) -> tuple[int, int]:
    height, width = (-(-side * eighths // 8) for side in full)
    return height, width


def _covers(scaled: tuple[int, int], size: tuple[int, int]) -> bool:
    return scaled[0] >= size[0] and scaled[1] >= size[1]


def _resize_filled(image: np.ndarray, filled: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Resize the top left `filled` (height, width) pixels of an image, which may be fractional.

    The interpolation is bilinear where it takes every pixel into account: area means take four times as long, and
    most photos are decoded at less than twice the requested size.
    """
    full = image.shape[:2]
    if tuple(filled) == full and (full == size or not _covers((2 * size[0], 2 * size[1]), full)):
        return resize(image, size)
    # Resize by the scale, not to the size, which would stretch the rounded-up image.
    scaled = cv2.resize(image, None, fx=size[1] / filled[1], fy=size[0] / filled[0])
    return scaled[: size[0], : size[1]]
