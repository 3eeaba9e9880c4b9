"""The competition's metric: Dice = 2 |A and B| / (|A| + |B|), and 1 if both masks are empty.

It is computed per photo, at the photo's own size, and averaged over photos.
https://www.kaggle.com/competitions/carvana-image-masking-challenge/overview/evaluation
"""

import numpy as np


def dice_from_counts(intersection: int, first: int, second: int) -> float:
    """Compute Dice, 0..1, from the pixel counts of the intersection and of the two masks."""
    return 2 * intersection / (first + second) if first + second else 1.0


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Dice, 0..1, of two masks, bool or 0/1, of one shape."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    return dice_from_counts(*(int(np.count_nonzero(mask)) for mask in (first & second, first, second)))


def dice_from_edges(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Dice, 0..1, of two masks of one photo given as run edges, without decoding them to pixels.

    Args:
        first: alternating starts and stops of the runs, as `rle.mask_to_edges` returns them.
        second: the other mask's.
    """
    starts, stops = second[::2], second[1::2]
    area = np.concatenate([[0], np.cumsum(stops - starts)])
    shared = _area_before(first[1::2], starts, stops, area) - _area_before(first[::2], starts, stops, area)
    return dice_from_counts(int(shared.sum()), int((first[1::2] - first[::2]).sum()), int(area[-1]))


def _area_before(
    positions: np.ndarray, starts: np.ndarray, stops: np.ndarray, area: np.ndarray
) -> np.ndarray:
    """Count the mask's pixels before each position; `area` is the mask's area before each of its runs."""
    run = np.searchsorted(starts, positions, side="right") - 1
    inside = np.minimum(positions, stops[run]) - starts[run] if len(starts) else 0
    return np.where(run < 0, 0, area[run] + inside)
