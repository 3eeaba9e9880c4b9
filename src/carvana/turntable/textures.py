"""Sheets: flat drawings, in material codes, of what each side of a car is made of."""

from collections.abc import Sequence
from enum import IntEnum

import cv2
import numpy as np

from carvana.turntable.materials import Material

LEFT, RIGHT, BOTTOM, TOP = -3.0, 3.0, -1.1, 2.2
"""What a sheet spans, in metres."""

_FRACTION = 4  # OpenCV takes corners in 1/16 of a pixel

Point = tuple[float, float]


class Side(IntEnum):
    """The number of a sheet."""

    FLANK = 0
    FRONT = 1
    REAR = 2
    DECK = 3
    ROOF = 4
    WHEEL = 5


AXES = np.array([[0, 2], [1, 2], [1, 2], [0, 1], [0, 1], [0, 2]])
"""(sheets, 2): which of a car's x, y, z run across each sheet and up it."""


class Sheet:
    """A drawing board: `code` (height, width) uint8 holds material codes, measures are in metres."""

    def __init__(self, scale: float, ground: Material) -> None:
        """Start a board of `scale` pixels a metre, all of it `ground`."""
        self.scale = scale
        shape = round((TOP - BOTTOM) * scale), round((RIGHT - LEFT) * scale)
        self.code = np.full(shape, int(ground), dtype=np.uint8)

    def fill(self, corners: Sequence[Point], material: Material) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.code, [self._pixels(corners)], int(material), cv2.LINE_8, _FRACTION)

    def box(self, left: float, right: float, low: float, high: float, material: Material) -> None:
        """Fill an upright rectangle."""
        self.fill([(left, low), (right, low), (right, high), (left, high)], material)

    def oval(self, centre: Point, radii: Point, material: Material) -> None:
        """Fill an upright ellipse."""
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radii + centre
        self.fill([tuple(point) for point in ring], material)

    def line(self, points: Sequence[Point], material: Material, width: float = 0.012) -> None:
        """Draw a line `width` metres wide, at least a pixel."""
        thick = max(1, round(width * self.scale))
        cv2.polylines(self.code, [self._pixels(points)], False, int(material), thick, cv2.LINE_8, _FRACTION)

    def both(self, corners: Sequence[Point], material: Material) -> None:
        """Fill a polygon and its mirror image across the middle."""
        self.fill(corners, material)
        self.fill([(-across, up) for across, up in corners], material)

    def _pixels(self, points: Sequence[Point]) -> np.ndarray:
        across, up = np.asarray(points, dtype=np.float64).T
        pixels = np.stack([across - LEFT, up - BOTTOM], axis=1) * self.scale - 0.5
        return np.round(pixels * 2**_FRACTION).astype(np.int32)


def look_up(sheets: np.ndarray, which: np.ndarray, place: np.ndarray, scale: float) -> np.ndarray:
    """Material codes at `place` (2, N) metres on the sheets `which` (N,) of `sheets` (S, H, W) uint8."""
    column = np.clip((place[0] - LEFT) * scale, 0, sheets.shape[2] - 1).astype(np.int32)
    row = np.clip((place[1] - BOTTOM) * scale, 0, sheets.shape[1] - 1).astype(np.int32)
    return sheets[which, row, column]
