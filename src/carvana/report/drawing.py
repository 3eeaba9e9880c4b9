"""Photos and overlays as pictures that lie in the page itself."""

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

TRUTH, MASK, MISSED, EXTRA = (42, 168, 118), (47, 126, 216), (232, 89, 12), (214, 51, 190)
"""Colours of the overlays, red green blue; what the network missed, and what it took too much."""

_WIDTH = 640


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) that a photo of `size` is shown at."""
    height, width = size
    return round(height * min(1, _WIDTH / width)), min(width, _WIDTH)


def photo_url(photo: np.ndarray) -> str:
    """A photo (height, width, 3), uint8, as a JPEG in a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def overlay(
    layers: Sequence[tuple[np.ndarray, tuple[int, int, int]]],
    size: tuple[int, int],
    *,
    share: float,
    opacity: float,
) -> str:
    """A picture that is clear but for its layers, as a PNG in a data URL.

    Args:
        layers: bool masks (h, w), each with its colour.
        size: (height, width) of the picture.
        share: of a picture's pixel that has to be covered for it to be coloured.
        opacity: of the colours, 0..1.
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
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
