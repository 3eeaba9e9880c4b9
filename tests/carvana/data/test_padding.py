"""Padding to the sizes that a network eats."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carvana.data.padding import Frame, cut, pad

sides = st.integers(1, 70)
frames = st.sampled_from([Frame(), Frame(2), Frame(16), Frame(32), Frame(16, 4, 92), Frame(2, 0, 8)])


@given(sides, sides, frames)
def test_cutting_undoes_padding(height: int, width: int, frame: Frame) -> None:
    photo = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    padded = pad(photo, frame.input_size((height, width)))
    assert np.array_equal(cut(padded, (height, width)), photo)
    inner = cut(padded, frame.map_size((height, width)))  # what a network with a margin answers for
    assert np.array_equal(cut(inner, (height, width)), photo)


@given(sides, sides, frames)
def test_the_smallest_size_that_fits_is_found(height: int, width: int, frame: Frame) -> None:
    more = frame.map_size((height, width))
    for side, at_least in zip(more, (height, width), strict=True):
        assert side % frame.multiple == frame.remainder
        assert side - frame.multiple < at_least <= side
    eaten = frame.input_size((height, width))
    assert eaten == (more[0] + 2 * frame.margin, more[1] + 2 * frame.margin)
    assert frame.nearest_input(eaten) == eaten


def test_carvana_grows_by_one_column_on_either_side() -> None:
    assert Frame(32).input_size((1280, 1918)) == (1280, 1920)
    row = np.arange(14, dtype=np.float32)[None]
    assert pad(row, (16, 16))[8].tolist() == [1, *range(14), 12]
