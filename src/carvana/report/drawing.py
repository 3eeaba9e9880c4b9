"""Photos, overlays and heat maps as images that are embedded in the page."""

import base64
import io
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from PIL import Image

TRUTH, MASK, MISSED, EXTRA = (42, 168, 118), (47, 126, 216), (232, 89, 12), (214, 51, 190)
"""Colours of the overlays (red, green, blue, 0..255); MISSED is car outside the mask, EXTRA mask outside the car."""

HEAT_COLOURS = [
    tuple(round(255 * part) for part in colour)
    for colour in matplotlib.colormaps["inferno"].colors  # type: ignore[attr-defined]
]
"""Colours of a heat map (red, green, blue, 0..255), from probability 0 to 1."""

_MAX_WIDTH = 640
"""Width of an embedded image, in pixels."""

_HEAT_LEVELS = 64
"""Levels of a heat map: fewer than 256 make smaller files, and differ by less than the eye can see."""


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of the embedded image of a photo of `size` (height, width)."""
    height, width = size
    return round(height * min(1, _MAX_WIDTH / width)), min(width, _MAX_WIDTH)


def photo_url(photo: np.ndarray, quality: int = 80) -> str:
    """Encode a photo (height, width, 3), uint8, RGB, as a JPEG in a data URL.

    Args:
        photo: the photo.
        quality: the quality of the JPEG, 1..95.
    """
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality)
    return _data_url("jpeg", buffer)


def overlay(
    layers: Sequence[tuple[np.ndarray, tuple[int, int, int]]],
    size: tuple[int, int],
    *,
    share: float,
    opacity: float,
) -> str:
    """Draw masks on a transparent image, as a PNG in a data URL.

    Args:
        layers: masks (h, w), bool, of any one size, each with its colour; later ones cover earlier ones.
        size: (height, width) of the image.
        share: the share of an image's pixel that a mask must exceed for the pixel to be coloured, 0..1.
        opacity: the opacity of the colours, 0..1.
    """
    indices = np.zeros(size, np.uint8)
    for number, (layer, _) in enumerate(layers, start=1):
        covered = cv2.resize(layer.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        indices[covered > share] = number
    image = Image.fromarray(indices, mode="P")
    image.putpalette([0, 0, 0, *(part for _, colour in layers for part in colour)])
    alpha = bytes([0, *[round(255 * opacity)] * len(layers)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=alpha, optimize=True)
    return _data_url("png", buffer)


def heat_map(probabilities: np.ndarray) -> str:
    """Draw probabilities (h, w), float, 0..1, in `HEAT_COLOURS`, as a PNG in a data URL."""
    levels = np.rint(probabilities * (_HEAT_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(levels, mode="P")
    chosen = np.linspace(0, len(HEAT_COLOURS) - 1, _HEAT_LEVELS).round().astype(int)
    image.putpalette([part for index in chosen for part in HEAT_COLOURS[index]])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _data_url("png", buffer)


def _data_url(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
