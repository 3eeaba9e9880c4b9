"""The competition's score: Dice = 2 |A and B| / (|A| + |B|), and 1 where both masks are empty.

It is taken per photo, at the photo's own size, and averaged over photos.
https://www.kaggle.com/competitions/carvana-image-masking-challenge/overview/evaluation
"""

import numpy as np

from carvana.competition import rle


def dice_from_counts(shared: int, first: int, second: int) -> float:
    """Dice from pixel counts: in both masks, in the first, in the second."""
    return 2 * shared / (first + second) if first + second else 1.0


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two masks, bool or 0/1, of one shape."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    return dice_from_counts(np.count_nonzero(first & second), first.sum(), second.sum())


def dice_from_rle(first: str, second: str) -> float:
    """Dice of two masks given as run-length text, without decoding them to pixels."""
    starts, lengths = rle.parse_runs(first)
    other_starts, other_lengths = rle.parse_runs(second)
    covered = _pixels_before(starts + lengths, other_starts, other_lengths)
    covered -= _pixels_before(starts, other_starts, other_lengths)
    return dice_from_counts(int(covered.sum()), int(lengths.sum()), int(other_lengths.sum()))


def _pixels_before(positions: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How many pixels of the runs lie before each position."""
    if not starts.size:
        return np.zeros_like(positions)
    whole = np.concatenate([[0], np.cumsum(lengths)])
    run = np.searchsorted(starts, positions, side="right") - 1
    inside = np.clip(positions - starts[run], 0, lengths[run])
    return np.where(run < 0, 0, whole[run] + inside)
