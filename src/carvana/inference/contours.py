"""The edges of a mask at a photo's own size, found in the map itself: the map is never upsampled as a whole.

Bilinear interpolation stays between its four neighbours. Where these lie on one side of the threshold, so does all
between them; only the cells that the contour crosses, one in a hundred, need interpolation. Within a cell and
a row of the photo the interpolated probability is a straight line, which crosses the threshold at one place.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from carvana.competition import rle


def run_edges(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Where the runs of the upsampled, then thresholded map start and stop.

    The mask is that of `cv2.resize(..., INTER_LINEAR) > threshold`, but for rounding in the last digit.

    Args:
        probabilities: (h, w), float32, 0..1.
        size: (height, width) of the photo.
        threshold: car is where the probability is above it.

    Returns:
        As `rle.mask_to_edges` the mask.
    """
    shape = probabilities.shape
    if shape == size:
        return rle.mask_to_edges(probabilities > threshold)
    if shape[0] > size[0] or shape[1] > size[1] or min(shape) < 2:  # a row may skip cells there
        full = cv2.resize(probabilities, size[::-1], interpolation=cv2.INTER_LINEAR)
        return rle.mask_to_edges(full > threshold)
    level = float(np.float32(threshold))  # what a float32 is compared with
    rows = _rows_between(shape[0], size[0])
    inside = _edges_in_cells(probabilities, *_crossed_cells(probabilities > level), size, level, rows)
    edges = np.concatenate([inside, _edges_at_seams(probabilities, size, level, rows)])
    edges.sort()
    return _without_empty_runs(edges)


@dataclass(frozen=True)
class _Rows:
    """The photo's rows between the map's: where each lies, and which lie within a row of cells."""

    above: np.ndarray
    """Of each photo's row the map's row above it, (height,)."""
    weight: np.ndarray
    """And the share of the one below, (height,), float32, 0..1."""
    first: np.ndarray
    """The first photo's row of each row of cells, (h - 1,)."""
    count: np.ndarray
    """And how many there are, (h - 1,)."""


def _rows_between(count: int, wanted: int) -> _Rows:
    places = np.clip((np.arange(wanted) + 0.5) * (count / wanted) - 0.5, 0, count - 1)
    above = np.minimum(places.astype(np.int64), count - 2)
    first = np.searchsorted(above, np.arange(count - 1))
    return _Rows(above, (places - above).astype(np.float32), first, np.diff(first, append=wanted))


def _crossed_cells(above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells, by row and column, between whose four corners (h, w), bool, the contour passes."""
    bits = np.packbits(above, axis=1)
    down = bits[:-1] ^ bits[1:]
    crossed = down | _shifted(down) | (bits ^ _shifted(bits))[:-1]
    cells = rle.set_bits(crossed.ravel())
    rows, columns = np.divmod(cells, bits.shape[1] * 8)
    inside = columns < above.shape[1] - 1
    return rows[inside], columns[inside]


def _shifted(bits: np.ndarray) -> np.ndarray:
    """Each row's bits, (h, bytes), moved one pixel to the left."""
    moved = bits << 1
    moved[:, :-1] |= bits[:, 1:] >> 7
    return moved


def _edges_in_cells(
    probabilities: np.ndarray,
    cell_rows: np.ndarray,
    cell_columns: np.ndarray,
    size: tuple[int, int],
    level: float,
    rows: _Rows,
) -> np.ndarray:
    """The edges within the photo's rows, in no order."""
    width = probabilities.shape[1]
    values, corner = probabilities.ravel(), cell_rows * width + cell_columns
    top_left, top_right = values.take(corner), values.take(corner + 1)
    fall_left = values.take(corner + width) - top_left
    fall_right = values.take(corner + width + 1) - top_right
    counts = rows.count[cell_rows]
    cell = np.repeat(np.arange(len(counts)), counts)  # one entry a cell and a row of the photo within it
    row = np.arange(len(cell)) + (rows.first[cell_rows] - np.cumsum(counts) + counts)[cell]
    weight = rows.weight[row]
    left = top_left[cell] + weight * fall_left[cell]
    right = top_right[cell] + weight * fall_right[cell]
    crossing = np.flatnonzero((left > level) != (right > level))
    left, right = left[crossing].astype(np.float64), right[crossing].astype(np.float64)
    place = cell_columns[cell[crossing]] + (level - left) / (right - left)
    column = (place + 0.5) * (size[1] / width) - 0.5
    # Car is above the level, not at it: a rise starts after the crossing, a fall ends on it.
    edge = np.where(right > left, np.floor(column) + 1, np.ceil(column))
    return row[crossing] * size[1] + edge.astype(np.int64)


def _edges_at_seams(
    probabilities: np.ndarray, size: tuple[int, int], level: float, rows: _Rows
) -> np.ndarray:
    """The edges between the end of a photo's row and the start of the next, and at both ends of the photo."""
    above, below = probabilities[:, [0, -1]][rows.above], probabilities[:, [0, -1]][rows.above + 1]
    is_car = above + rows.weight[:, None] * (below - above) > level
    flat = np.concatenate([[False], is_car.ravel(), [False]])
    return np.flatnonzero(flat[::2] != flat[1::2]) * size[1]


def _without_empty_runs(edges: np.ndarray) -> np.ndarray:
    """Sorted edges without those that meet: a run, or a gap, of no pixel."""
    if not (edges[1:] == edges[:-1]).any():
        return edges
    places, times = np.unique(edges, return_counts=True)
    return places[times % 2 == 1]
