"""Padding to the sizes that a network eats."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carvana.data.padding import SizeSpec, crop, pad

sides = st.integers(1, 70)
frames = st.sampled_from(
    [SizeSpec(), SizeSpec(2), SizeSpec(16), SizeSpec(32), SizeSpec(16, 4, 92), SizeSpec(2, 0, 8)]
)


@given(sides, sides, frames)
def test_cutting_undoes_padding(height: int, width: int, size_spec: SizeSpec) -> None:
    photo = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    padded = pad(photo, size_spec.input_size((height, width)))
    assert np.array_equal(crop(padded, (height, width)), photo)
    inner = crop(padded, size_spec.map_size((height, width)))  # what a network with a margin answers for
    assert np.array_equal(crop(inner, (height, width)), photo)


@given(sides, sides, frames)
def test_the_smallest_size_that_fits_is_found(height: int, width: int, size_spec: SizeSpec) -> None:
    more = size_spec.map_size((height, width))
    for side, at_least in zip(more, (height, width), strict=True):
        assert side % size_spec.multiple == size_spec.remainder
        assert side - size_spec.multiple < at_least <= side
    eaten = size_spec.input_size((height, width))
    assert eaten == (more[0] + 2 * size_spec.margin, more[1] + 2 * size_spec.margin)
    assert size_spec.nearest_input(eaten) == eaten


def test_carvana_grows_by_one_column_on_either_side() -> None:
    assert SizeSpec(32).input_size((1280, 1918)) == (1280, 1920)
    row = np.arange(14, dtype=np.float32)[None]
    assert pad(row, (16, 16))[8].tolist() == [1, *range(14), 12]
