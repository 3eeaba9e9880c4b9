"""The competition's score: Dice = 2 |A and B| / (|A| + |B|), and 1 where both masks are empty.

It is computed per photo, at the photo's own size, and averaged over photos.
https://www.kaggle.com/competitions/carvana-image-masking-challenge/overview/evaluation
"""

import numpy as np

from carvana.competition import rle


def dice_from_counts(intersection: int, first: int, second: int) -> float:
    """Compute Dice, 0..1, from the pixel counts of the intersection and of the two masks."""
    return 2 * intersection / (first + second) if first + second else 1.0


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Dice, 0..1, of two masks, bool or 0/1, of one shape."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    counts = (int(np.count_nonzero(mask)) for mask in (first & second, first, second))
    return dice_from_counts(*counts)


def dice_from_rle(first: str, second: str) -> float:
    """Compute Dice, 0..1, of two masks given as run-length text, without decoding them to pixels."""
    starts, lengths = rle.parse_runs(first)
    other_starts, other_lengths = rle.parse_runs(second)
    shared = _pixels_before(starts + lengths, other_starts, other_lengths)
    shared -= _pixels_before(starts, other_starts, other_lengths)
    return dice_from_counts(int(shared.sum()), int(lengths.sum()), int(other_lengths.sum()))


def _pixels_before(positions: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Count the pixels of the runs before each position."""
    if not starts.size:
        return np.zeros_like(positions)
    cumulative = np.concatenate([[0], np.cumsum(lengths)])
    run = np.searchsorted(starts, positions, side="right") - 1
    inside = np.clip(positions - starts[run], 0, lengths[run])
    return np.where(run < 0, 0, cumulative[run] + inside)
