"""Run-length encoding as the competition defines it.

`start length start length ...`: pixels are numbered from 1, row by row (left to right, then top to bottom), and the
starts ascend. (Most other Kaggle competitions number pixels column by column.)
https://www.kaggle.com/competitions/carvana-image-masking-challenge/overview/evaluation
"""

import numpy as np

from carvana.errors import UserError

_SHOWN_CHARACTERS = 30
"""Characters of an invalid number in a message."""

_MAX_NUMBER = 2**31 - 1
"""Largest start and length of a run, in pixels. More pixels than any photo has, and sums of two do not overflow."""


def encode(mask: np.ndarray) -> str:
    """Encode a mask (height, width), bool or 0/1, as run-length text; "" when it is empty.

    >>> encode(np.array([[0, 0, 1, 1]]))
    '3 2'
    """
    return edges_to_rle(mask_to_edges(mask))


def mask_to_edges(mask: np.ndarray) -> np.ndarray:
    """Find the pixels at which a mask's runs start and stop.

    Pixels are compared eight at a time, as the bits of a byte, because few bytes contain an edge.

    Args:
        mask: (height, width), bool or 0/1.

    Returns:
        Start and stop (exclusive) of each run in turn, int64, ascending: indices from 0, row by row.
    """
    bits = np.packbits(np.asarray(mask, dtype=bool))
    changes = bits >> 1
    changes[1:] |= bits[:-1] << 7
    changes ^= bits  # a bit is set where its pixel differs from the one before it
    edges = set_bits(changes)
    return np.append(edges, mask.size) if edges.size % 2 else edges  # the last run ends with the photo


def set_bits(packed: np.ndarray) -> np.ndarray:
    """Return the indices, int64, ascending, of the set bits in bytes (n,), uint8, the highest bit first."""
    nonzero = np.flatnonzero(packed != 0)
    byte, bit = np.nonzero(np.unpackbits(packed[nonzero]).reshape(-1, 8))
    return nonzero[byte] * 8 + bit


def edges_to_rle(edges: np.ndarray) -> str:
    """Encode edges, as `mask_to_edges` returns them, as run-length text."""
    numbers = edges.copy()
    numbers[1::2] -= edges[::2]
    numbers[::2] += 1
    return str(numbers.tolist())[1:-1].replace(",", "")  # a fifth faster than joining


def edges_to_mask(edges: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Decode edges, as `mask_to_edges` returns them, to a bool mask of `size` (height, width)."""
    mask = np.zeros(size[0] * size[1], dtype=bool)
    for start, stop in edges.reshape(-1, 2).tolist():
        mask[start:stop] = True
    return mask.reshape(size)


def parse_runs(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse run-length text to starts (indices from 0) and lengths, two int64 arrays of one length.

    Raises:
        UserError: the text contains something other than whole numbers in ASCII digits, an odd number of them, a
            start or a length that is below 1 or beyond any photo, or runs that are unsorted or overlap.
    """
    try:
        numbers = np.fromstring(text, dtype=np.int64, sep=" ")  # five times as fast as str.split
    except ValueError:  # it accepts digits, ASCII's white space, and signs
        raise _not_a_number(text) from None
    if "-" in text or "+" in text or text.isspace():
        raise _not_a_number(text)
    if numbers.size and numbers.max() > _MAX_NUMBER:
        raise _too_large(text, numbers)
    if numbers.size % 2:
        raise UserError(f"run-length text holds {numbers.size} numbers; it needs pairs of start and length")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if (starts < 0).any():
        raise UserError(f"run {_first(starts < 0)} starts at {starts.min() + 1}; pixels are numbered from 1")
    if (lengths < 1).any():
        raise UserError(f"run {_first(lengths < 1)} is {lengths.min()} pixels long; the minimum is 1")
    unsorted = starts[1:] < starts[:-1]
    if unsorted.any():
        raise UserError(f"run {_first(unsorted) + 1} starts before the previous run")
    overlapping = starts[1:] < starts[:-1] + lengths[:-1]
    if overlapping.any():
        raise UserError(f"run {_first(overlapping) + 1} overlaps the previous run")
    return starts, lengths


def runs_to_edges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the edges, as `mask_to_edges` returns them, of the runs of `parse_runs`."""
    return np.stack([starts, starts + lengths], axis=1).ravel()


def decode(text: str, size: tuple[int, int]) -> np.ndarray:
    """Decode run-length text to a bool mask of `size` (height, width).

    Raises:
        UserError: the text is malformed, see `parse_runs`, or a run ends after the last pixel.
    """
    starts, lengths = parse_runs(text)
    check_bounds(starts, lengths, size)
    return edges_to_mask(runs_to_edges(starts, lengths), size)


def check_bounds(starts: np.ndarray, lengths: np.ndarray, size: tuple[int, int]) -> None:
    """Raise UserError if the last run ends after the last pixel of `size` (height, width)."""
    pixels = size[0] * size[1]
    if starts.size and starts[-1] + lengths[-1] > pixels:
        end = starts[-1] + lengths[-1]
        raise UserError(
            f"run {starts.size} ends at pixel {end}, past the {pixels} pixels of {size[1]}x{size[0]}"
        )


def _not_a_number(text: str) -> UserError:
    """Describe the first part of a run-length text that is no whole number in ASCII digits."""
    invalid = next((part for part in text.split() if not (part.isascii() and part.isdecimal())), text)
    if not invalid.strip():
        return UserError("run-length text is blank; that of an empty mask has no characters")
    return UserError(f"run-length text contains {_shortened(invalid)!r}, which is no whole number")


def _too_large(text: str, numbers: np.ndarray) -> UserError:
    index = int(np.argmax(numbers > _MAX_NUMBER))
    number = _shortened(text.split()[index])
    return UserError(f"run {index // 2 + 1} contains {number}, more than any photo has pixels")


def _shortened(part: str) -> str:
    return part if len(part) <= _SHOWN_CHARACTERS else f"{part[:_SHOWN_CHARACTERS]}..."


def _first(invalid: np.ndarray) -> int:
    """Return the number, from 1, of the first invalid run."""
    return int(np.argmax(invalid)) + 1
