"""Run-length encoding as the competition defines it.

`start length start length ...`: pixels are numbered from 1, row by row (left to right, then top to
bottom), and the starts ascend. (Most other Kaggle competitions count down the columns.)
https://www.kaggle.com/competitions/carvana-image-masking-challenge/overview/evaluation
"""

import numpy as np

from carvana.errors import InputError


def encode(mask: np.ndarray) -> str:
    """Encode a mask (height, width), bool or 0/1, as run-length text; "" when it is empty.

    >>> encode(np.array([[0, 0, 1, 1]]))
    '3 2'
    """
    flat = np.ascontiguousarray(mask, dtype=bool).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    # A run that touches either end of the photo has no change there: that end is added by hand.
    ends = [[0]] * bool(flat.size and flat[0]), [[flat.size]] * bool(flat.size and flat[-1])
    edges = np.concatenate([*ends[0], changes, *ends[1]]).astype(np.int64)
    starts, stops = edges[::2], edges[1::2]
    runs = np.stack([starts + 1, stops - starts], axis=1)
    return " ".join(map(str, runs.ravel().tolist()))


def runs_of(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Read run-length text as 0-indexed starts and lengths, two int64 arrays of one length.

    Raises:
        InputError: not whole numbers, an odd count of them, a start below 1 or a length below 1,
            runs that are unsorted or overlap.
    """
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(f"run-length text holds something that is no whole number ({error})") from None
    if numbers.size % 2:
        raise InputError(f"run-length text holds {numbers.size} numbers; starts and lengths come in pairs")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if (starts < 0).any():
        raise InputError(f"run {_first(starts < 0)} starts at {starts.min() + 1}; pixels are numbered from 1")
    if (lengths < 1).any():
        raise InputError(f"run {_first(lengths < 1)} is {lengths.min()} pixels long; a run has at least 1")
    unsorted = starts[1:] < starts[:-1]
    if unsorted.any():
        raise InputError(f"run {_first(unsorted) + 1} starts before the run in front of it")
    overlapping = starts[1:] < starts[:-1] + lengths[:-1]
    if overlapping.any():
        raise InputError(f"run {_first(overlapping) + 1} overlaps the run in front of it")
    return starts, lengths


def decode(text: str, size: tuple[int, int]) -> np.ndarray:
    """Decode run-length text to a bool mask of `size` (height, width).

    Raises:
        InputError: as `runs_of`, and where a run goes past the last pixel.
    """
    starts, lengths = runs_of(text)
    check_fits(starts, lengths, size)
    steps = np.zeros(size[0] * size[1] + 1, dtype=np.int8)
    steps[starts] += 1
    steps[starts + lengths] -= 1  # two runs that touch cancel out here, as they should
    return np.cumsum(steps[:-1], dtype=np.int8).view(bool).reshape(size)


def check_fits(starts: np.ndarray, lengths: np.ndarray, size: tuple[int, int]) -> None:
    """Raise InputError where the last run goes past the last pixel of `size` (height, width)."""
    pixels = size[0] * size[1]
    if starts.size and starts[-1] + lengths[-1] > pixels:
        end = starts[-1] + lengths[-1]
        raise InputError(
            f"run {starts.size} ends at pixel {end}, past the {pixels} pixels of {size[1]}x{size[0]}"
        )


def _first(wrong: np.ndarray) -> int:
    return int(np.argmax(wrong)) + 1
