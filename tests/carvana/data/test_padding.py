"""Padding to what a network divides by."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carvana.data.padding import cut, pad, padded_size

sides = st.integers(1, 70)


@given(sides, sides, st.sampled_from([1, 2, 16, 32]))
def test_cutting_undoes_padding(height: int, width: int, multiple: int) -> None:
    photo = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    padded = pad(photo, multiple)
    assert padded.shape[:2] == padded_size((height, width), multiple)
    assert padded.shape[0] % multiple == padded.shape[1] % multiple == 0
    assert np.array_equal(cut(padded, (height, width)), photo)


def test_carvana_grows_by_one_column_on_either_side() -> None:
    assert padded_size((1280, 1918), 32) == (1280, 1920)
    row = np.arange(14, dtype=np.float32)[None]
    assert pad(row, 16)[8].tolist() == [1, *range(14), 12]
