"""Filling of polygons with OpenCV at subpixel precision."""

import cv2
import numpy as np

SUBPIXEL_BITS = 4
"""Fractional bits of OpenCV's fixed-point coordinates: 1/16 of a pixel."""


def to_fixed_point(points: np.ndarray) -> np.ndarray:
    """Convert pixel coordinates (..., 2) to OpenCV's fixed-point coordinates, int32."""
    return np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)


def fill_polygon(image: np.ndarray, points: np.ndarray, value: float) -> None:
    """Fill the polygon with corners `points` (N, 2), x and y in pixels, with `value` in place."""
    cv2.fillPoly(image, [to_fixed_point(points)], value, cv2.LINE_8, SUBPIXEL_BITS)
