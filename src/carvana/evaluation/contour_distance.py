"""Distances of wrong pixels from the true contour."""

import cv2
import numpy as np

from carvana.evaluation.errors import COUNT_COLUMNS, DISTANCES


def error_counts(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Count the wrong pixels of a mask in each bin of their distance from the true contour.

    The distance of a pixel is that from the nearest pixel of the other class in the true mask, so a pixel beside the
    contour has distance 1. Where the true mask is empty or covers the photo, all wrong pixels are in the last bin.

    Args:
        predicted: (height, width), bool.
        true: (height, width), bool.

    Returns:
        Number of wrong pixels by bin, in the order of `errors.COUNT_COLUMNS`, int64.
    """
    counts = np.zeros(len(COUNT_COLUMNS), np.int64)
    for true_class in (true, ~true):
        wrong = true_class & (predicted != true)
        if wrong.any():
            # Pixels farther from all wrong pixels than the last distance cannot change a bin.
            window = _window(wrong, DISTANCES[-1])
            distances = _distances(true_class[window])[wrong[window]]
            counts += np.bincount(np.searchsorted(DISTANCES, distances), minlength=len(counts))
    return counts


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Return the rows and columns of the bounding box of a mask's pixels, with a margin."""
    first, second = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, one[0] - margin), one[-1] + margin + 1) for one in (first, second))
    return rows, columns


def _distances(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel of a bool mask from the nearest pixel outside it; inf where there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
