"""Reading of photos and masks, at no more than the resolution that is needed.

A size is (height, width) in pixels. A photo is RGB, uint8, 0..255, (height, width, 3).
Of an animated image, the first frame is read.
"""

import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from carvana.errors import UserError
from carvana.files import open_regular

SizesOf = Callable[[tuple[int, int]], Sequence[tuple[int, int] | None]]
"""Function from an image's own (height, width) to the sizes that are wanted; None is its own."""

_EXIF_ORIENTATION = 0x0112
_EXIF_MARK = b"Exif\0\0"
_HEADER_BYTES = 65_536
"""First bytes of a JPEG, which contain its header unless there is a large thumbnail or colour profile in it."""
_SCALES = (1, 2, 4, 8)
"""Scales, in eighths, at which libjpeg-turbo decodes fast: 7/8, for 1024x1536, takes 13 ms, the whole photo 5."""
_JPEG_MARK = b"\xff\xd8\xff"
_MAX_PIXELS = 200_000_000
"""Pixels up to which an image is decoded: those of the largest phone cameras. Its header alone may claim any size."""
_MAX_BYTES = 2 * 10**9
"""Bytes of a file up to which it is read."""
MAX_SIDE = 65_535
"""Largest height or width, as in a JPEG; a PNG of a cut-out may not have over a million."""
_WHITE_LEVELS = (1, 255, 65_535)
"""Levels that mean white in a mask without black pixels."""
_COLOURED, _TRANSPARENT = -1, -2
"""Levels of pixels of a mask that are not grey, and of transparent ones in an image of a single level."""
_NO_GREYS = {_COLOURED: "coloured", _TRANSPARENT: "transparent"}
_SHOWN_LEVELS = 5
"""Levels of an invalid mask in the message."""

Image.MAX_IMAGE_PIXELS = None  # `check_pixels` refuses large images, with one line and without a warning
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata, which the pixels do not depend on


def read_photo(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a JPEG photo (RGB, grey or CMYK), rotated by its EXIF orientation.

    Args:
        path: the JPEG file.
        size: the (height, width) to resize to; by default the photo's own. The JPEG is decoded at the smallest
            scale (1/8, 1/4, 1/2 or 1) that covers it, and then resized.

    Returns:
        (height, width, 3), uint8, RGB.

    Raises:
        UserError: the file is missing, is not a complete JPEG, or is too large.
    """
    (photo,), _ = read_photo_sizes(path, [size])
    return photo


def read_photo_sizes(
    path: Path, sizes: Sequence[tuple[int, int] | None], data: bytes | None = None
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Read a JPEG photo at several sizes, with one read of its file.

    Args:
        path: the JPEG file.
        sizes: (height, width) of each result; None for the photo's own size.
        data: the file's content; by default it is read.

    Returns:
        The photos, each (height, width, 3), uint8, RGB, and the (height, width) of the file's photo.

    Raises:
        UserError: the file is missing, is not a complete JPEG, or is too large.
    """
    data = _bytes(path) if data is None else data
    height, width, colours = _header(path, data)
    if colours in ("CMYK", "YCCK") or _orientation(data) != 1:
        photo = _read_by_pillow(path, data)
        return [photo if size is None else resize(photo, size) for size in sizes], photo.shape[:2]
    try:
        return [_decode(data, (height, width), size) for size in sizes], (height, width)
    except ValueError as error:
        raise _broken(path, "JPEG", error) from None


def read_image_sizes(
    path: Path,
    sizes_of: SizesOf,
    data: bytes | None = None,
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Read an image of any kind at sizes that depend on its own, and return its own (height, width), too.

    A JPEG is decoded as `read_photo_sizes` does it, so that both give the same pixels.

    Args:
        path: the image file.
        sizes_of: maps the image's own (height, width) to the sizes, each as in `read_photo`.
        data: the file's content; by default it is read.

    Raises:
        UserError: as `read_image`.
    """
    start = _bytes(path, len(_JPEG_MARK)) if data is None else data[: len(_JPEG_MARK)]
    if start == _JPEG_MARK:
        return read_photo_sizes(path, sizes_of(photo_size(path, data)), data)
    return resize_all(read_image(path, data), sizes_of)


def resize_all(image: np.ndarray, sizes_of: SizesOf) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Resize an image that is read already, as `read_image_sizes` does it."""
    size = image.shape[0], image.shape[1]
    return [image if one is None else resize(image, one) for one in sizes_of(size)], size


def read_image(path: Path, data: bytes | None = None) -> np.ndarray:
    """Read an image of any format that Pillow supports, at its own size and rotated by its EXIF orientation.

    Args:
        path: the image file.
        data: the file's content; by default it is read.

    Returns:
        (height, width, 3), uint8, RGB; transparent pixels are blended with white.

    Raises:
        UserError: the file is missing, is not a complete image, is too large, or has pixels of 32 bits.
    """
    data = _bytes(path) if data is None else data
    if data.startswith(_JPEG_MARK):
        (photo,), _ = read_photo_sizes(path, [None], data)
        return photo
    with _opened(path, data, "image") as image:
        return rgb_pixels(path, image)


def has_image_ending(path: Path) -> bool:
    """Return whether a file's name ends like that of an image that Pillow reads, e.g. `.jpg` or `.PNG`."""
    return Image.registered_extensions().get(path.suffix.lower()) in Image.OPEN


def rgb_pixels(path: Path, image: Image.Image) -> np.ndarray:
    """Return the pixels of an opened image, as `read_image` does; `path` names it in errors."""
    upright = _to_8_bits(path, ImageOps.exif_transpose(image)).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    return np.array(Image.alpha_composite(white, upright).convert("RGB"))


def check_pixels(path: Path, height: int, width: int) -> None:
    """Check that an image can be decoded; `path` names it in errors.

    Raises:
        UserError: it has too many pixels, or none.
    """
    if not (0 < height * width <= _MAX_PIXELS and max(height, width) <= MAX_SIDE):
        raise UserError(
            f"{path}: is {width}x{height}; an image has at most {_MAX_PIXELS // 1_000_000} million pixels, and"
            f" {MAX_SIDE} on a side"
        )


def photo_size(path: Path, data: bytes | None = None) -> tuple[int, int]:
    """Read a JPEG photo's (height, width), after its EXIF rotation, from the header of the file or of its content."""
    try:
        header = _bytes(path, _HEADER_BYTES) if data is None else data
        height, width, _ = _header(path, header)
    except UserError:  # the header is longer, or damaged
        header = _bytes(path) if data is None else data
        height, width, _ = _header(path, header)
    return (width, height) if _orientation(header) >= 5 else (height, width)


def read_mask(path: Path) -> np.ndarray:
    """Read a mask, an image (GIF in the competition) of two grey levels, of which the brighter one is car.

    The palette is applied; if it has no colour but black, the indices of the pixels are their levels. An image of one
    level is an empty mask if it is black, and a full one if it is white. Transparent pixels are black.

    Returns:
        (height, width), bool.

    Raises:
        UserError: the file is missing, is not a complete image, is too large, or has other than two levels.
    """
    with _opened(path, _bytes(path), "GIF") as image:
        pixels, levels = _mask_pixels(image)
    return _is_car(path, pixels, levels)


def mask_size(path: Path) -> tuple[int, int]:
    """Read a mask's (height, width) from the file's header."""
    with _opened(path, _bytes(path), "GIF") as image:
        return image.height, image.width


def read_levels(path: Path) -> np.ndarray:
    """Read a grey image of 8 bits: (height, width), uint8.

    Raises:
        UserError: the file is missing, is not a complete image, is too large, or is not grey with 8 bits.
    """
    with _opened(path, _bytes(path), "image") as image:
        if image.mode != "L":
            raise UserError(f"{path}: not grey with 8 bits")
        return np.array(image)


def mask_coverage(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a bool mask (h, w) to its coverage of each pixel of `size` (height, width): uint8, 0..255."""
    return resize(mask.view(np.uint8) * np.uint8(255), size)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (h, w[, channels]) to `size` (height, width): area means to shrink, bilinear to enlarge."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _mask_pixels(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the pixels of a mask, and for an image with a palette the level of each index.

    Returns:
        Pixels (height, width), and None if they are levels, else levels (256,), int64; those that are no grey are
        `_COLOURED`.
    """
    if image.mode == "P" and "transparency" not in image.info:
        return np.asarray(image), _palette_levels(image)
    if image.mode == "L" or image.mode.startswith(("I", "F")):
        return np.asarray(image), None
    if image.mode == "1":
        return np.asarray(image.convert("L")), None
    rgba = np.asarray(image.convert("RGBA"))
    alpha = rgba[..., 3].astype(np.int32)
    levels = np.where(_is_grey(rgba) | (alpha == 0), (rgba[..., 0] * alpha + 127) // 255, _COLOURED)
    if levels.min() == levels.max() and alpha.min() != alpha.max():
        levels[alpha == 0] = _TRANSPARENT
    return levels, None


def _palette_levels(image: Image.Image) -> np.ndarray:
    """Return the level (256,), int64, of each index of a palette."""
    levels = np.full(256, _COLOURED)
    colours = np.array(image.getpalette("RGB") or [], dtype=np.int64).reshape(-1, 3)[:256]
    if not colours.any():  # libraries save an image of indices without colours so
        return np.arange(256)
    levels[: len(colours)] = np.where(_is_grey(colours), colours[:, 0], _COLOURED)
    return levels


def _is_grey(colours: np.ndarray) -> np.ndarray:
    return (colours[..., 0] == colours[..., 1]) & (colours[..., 1] == colours[..., 2])


def _is_car(path: Path, pixels: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """Return the brighter pixels of a mask of two levels; the arguments are those that `_mask_pixels` returns."""
    lowest, highest = pixels.min(), pixels.max()
    is_highest = pixels == highest
    if (
        highest - lowest > 1
        and np.count_nonzero(is_highest) + np.count_nonzero(pixels == lowest) < pixels.size
    ):
        if levels is None:
            raise _invalid_levels(path, pixels)
        return _is_car(path, levels[pixels], None)  # several indices may have the same colour
    dark, bright = (lowest, highest) if levels is None else (levels[lowest], levels[highest])
    if lowest == highest and (dark == 0 or dark in _WHITE_LEVELS):
        return is_highest if dark else ~is_highest
    if dark == bright or min(dark, bright) < 0:
        raise _invalid_levels(path, pixels if levels is None else levels[pixels])
    return is_highest if bright > dark else ~is_highest


def _invalid_levels(path: Path, levels: np.ndarray) -> UserError:
    """Describe a mask of other than two levels."""
    different = np.unique(levels)
    shown = [_NO_GREYS.get(level, f"{level:g}") for level in different[:_SHOWN_LEVELS]]
    more = f" and {len(different) - len(shown)} more" if len(different) > len(shown) else ""
    return UserError(
        f"{path}: is not a mask; its pixels are {', '.join(shown)}{more}, not two greys, of which the brighter is car"
    )


@contextmanager
def _opened(path: Path, data: bytes, kind: str) -> Iterator[Image.Image]:
    """Open an image with Pillow, and raise errors of the file in the block as UserError.

    Args:
        path: the file, for messages.
        data: its content.
        kind: the kind of file, for messages.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            check_pixels(path, image.height, image.width)
            yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{path}: not an image that Pillow reads, or a damaged one") from None
    except Exception as error:  # a damaged file leads Pillow's readers to errors of almost every type
        raise _broken(path, kind, error) from None


def _to_8_bits(path: Path, image: Image.Image) -> Image.Image:
    """Convert a grey image of 16 bits to 8; Pillow's own conversion turns all but the darkest pixels white."""
    if image.mode in ("I", "F"):
        raise UserError(f"{path}: has pixels of 32 bits, whose range is not known; save it with 8 bits")
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode[:2] == "I;" else image


def _bytes(path: Path, limit: int = -1) -> bytes:
    """Read the file, or its first `limit` bytes."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > _MAX_BYTES:
                raise UserError(f"{path}: has more than {_MAX_BYTES // 10**9} GB; no image has")
            return file.read(limit)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # a zero byte, or a surrogate
        raise UserError(f"{str(path)!r}: cannot be the name of a file") from None


def _header(path: Path, data: bytes) -> tuple[int, int, str]:
    """Parse a JPEG's height, width and colour space."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _broken(path, "JPEG", error) from None
    check_pixels(path, height, width)
    return height, width, colours


def _broken(path: Path, kind: str, reason: object) -> UserError:
    return UserError(f"{path}: not a whole {kind} ({reason}); download it again")


def _orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; from 5 on, height and width are swapped."""
    if data.find(_EXIF_MARK, 0, _HEADER_BYTES) < 0:  # Pillow takes 0.5 ms, a third of a scaled decoding
        return 1
    try:
        orientation = Image.open(io.BytesIO(data)).getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata leads Pillow to errors of many types; the photo itself may be whole
        return 1
    return orientation if orientation in range(1, 9) else 1


def _read_by_pillow(path: Path, data: bytes) -> np.ndarray:
    """Decode a photo that libjpeg-turbo does not rotate or convert. This is slow, but such photos are rare."""
    with _opened(path, data, "JPEG") as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


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
