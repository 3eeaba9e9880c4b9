"""Photos and masks: read right, and no larger than needed.

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
_HEAD = 65_536
"""Bytes of a JPEG that hold its header, but for one with a large picture or profile in it."""
_SCALES = (1, 2, 4, 8)
"""Eighths of a JPEG's size that libjpeg-turbo decodes fast: 7/8, for 1024x1536, takes 13 ms, the whole photo 5."""
_JPEG_MARK = b"\xff\xd8\xff"


def read_photo(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a JPEG photo (RGB, grey or CMYK; turned as its EXIF orientation says).

    Args:
        path: the JPEG file.
        size: the (height, width) wanted; without it the photo's own. The JPEG is decoded at the
            smallest scale (1/8, 1/4, 1/2 or whole) that still covers it, and resized from there.

    Returns:
        (height, width, 3), uint8, RGB.

    Raises:
        UserError: the file is missing, no JPEG, or not a whole one.
    """
    (photo,), _ = read_photo_sizes(path, [size])
    return photo


def read_photo_sizes(
    path: Path, sizes: Sequence[tuple[int, int] | None]
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Read a JPEG photo at several sizes, and its own (height, width), from one look at its file.

    Args:
        path: the JPEG file.
        sizes: as `read_photo` takes each.

    Raises:
        UserError: as `read_photo`.
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
    """Read an image of any kind that Pillow knows, at its own size and turned as its EXIF orientation says.

    Returns:
        (height, width, 3), uint8, RGB; on white where it is transparent.

    Raises:
        UserError: the file is missing, no image, or not a whole one.
    """
    data = _bytes(path)
    if data.startswith(_JPEG_MARK):
        return read_photo(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: not a whole image ({error})") from None
    return np.array(Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned).convert("RGB"))


def photo_size(path: Path) -> tuple[int, int]:
    """The photo's (height, width) as a person sees it, from the file's header alone."""
    try:
        data = _bytes(path, _HEAD)
        height, width, _ = _header(path, data)
    except UserError:  # a header that is longer, or a broken one
        data = _bytes(path)
        height, width, _ = _header(path, data)
    return (width, height) if _orientation(data) >= 5 else (height, width)


def read_mask(path: Path) -> np.ndarray:
    """Read a GIF mask, whose pixels are 0 and 1 (or 0 and 255), as bool (height, width).

    Raises:
        UserError: the file is missing, no image, or not a whole one.
    """
    with _opened_mask(path) as image:
        return np.asarray(image if image.mode == "P" else image.convert("L")) > 0


def mask_size(path: Path) -> tuple[int, int]:
    """The mask's (height, width), from the file's header alone."""
    with _opened_mask(path) as image:
        return image.height, image.width


def mask_coverage(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a bool mask to the share of each new pixel that it covers: uint8, 0..255."""
    return resize(mask.view(np.uint8) * np.uint8(255), size)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (h, w[, channels]) to `size` (height, width): means of areas down, bilinear up."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@contextmanager
def _opened_mask(path: Path) -> Iterator[Image.Image]:
    """Open a mask; what goes wrong with the file within the block is the user's to mend."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise UserError(f"{path}: no such mask") from None
    except (OSError, EOFError, SyntaxError) as error:
        raise UserError(f"{path}: not a whole GIF ({error}); download it again") from None


def _bytes(path: Path, most: int = -1) -> bytes:
    """The file's bytes, or the first ones of them."""
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _header(path: Path, data: bytes) -> tuple[int, int, str]:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _broken(path, error) from None
    return height, width, colours


def _broken(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a whole JPEG ({error}); download it again")


def _orientation(data: bytes) -> int:
    """The EXIF orientation, 1 (upright) to 8; from 5 on, height and width are swapped."""
    if data.find(_EXIF_MARK, 0, _HEAD) < 0:  # Pillow takes 0.5 ms to tell, a third of a scaled decode
        return 1
    return Image.open(io.BytesIO(data)).getexif().get(_EXIF_ORIENTATION, 1)


def _read_by_pillow(path: Path, data: bytes) -> np.ndarray:
    """The slow way, for the rare photos that libjpeg-turbo alone would not turn or convert."""
    try:
        return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    except OSError as error:
        raise _broken(path, error) from None


def _decode(data: bytes, own: tuple[int, int], size: tuple[int, int] | None) -> np.ndarray:
    """Decode an upright JPEG of RGB or grey, whose own size is known, at the smallest scale that covers `size`."""
    eighths = next((n for n in _SCALES if size and _covers(_scaled(own, n), size)), 8)
    height, width = _scaled(own, eighths)
    photo = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    # A scaled decode rounds up: 1918 columns at 2/8 are 480, of which the photo fills 479.5.
    return photo if size is None else _resize_filled(photo, [side * eighths / 8 for side in own], size)


def _scaled(own: tuple[int, int], eighths: int) -> tuple[int, int]:
    height, width = (-(-side * eighths // 8) for side in own)
    return height, width


def _covers(scaled: tuple[int, int], size: tuple[int, int]) -> bool:
    return scaled[0] >= size[0] and scaled[1] >= size[1]


def _resize_filled(image: np.ndarray, filled: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Resize the top left `filled` (height, width) pixels of an image, which may end within a pixel.

    Bilinearly, where that counts every pixel: a mean over areas takes four times as long, and most photos are decoded
    at less than twice the size that is wanted.
    """
    own = image.shape[:2]
    if tuple(filled) == own and (own == size or not _covers((2 * size[0], 2 * size[1]), own)):
        return resize(image, size)
    # By the scale and not to the size: that would stretch the rounded-up image.
    scaled = cv2.resize(image, None, fx=size[1] / filled[1], fy=size[0] / filled[0])
    return scaled[: size[0], : size[1]]
