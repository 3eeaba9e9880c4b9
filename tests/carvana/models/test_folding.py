"""Pixels folded into channels, and back."""

import numpy as np
import pytest

from carvana.models.folding import DepthToSpace, SpaceToDepth


@pytest.mark.parametrize("side", [1, 2, 3])
def test_folding_is_undone(side: int) -> None:
    maps = np.random.default_rng(0).uniform(size=(2, 6, 12, 5)).astype(np.float32)
    folded = SpaceToDepth(side)(maps)
    assert folded.shape == (2, 6 // side, 12 // side, 5 * side**2)
    assert np.array_equal(np.asarray(DepthToSpace(side)(folded)), maps)


def test_a_square_becomes_a_pixel() -> None:
    photo = np.arange(4 * 6, dtype=np.float32).reshape(1, 4, 6, 1)
    folded = np.asarray(SpaceToDepth(2)(photo))
    assert folded[0, 0, 0].tolist() == [0, 1, 6, 7]
    assert folded[0, 1, 2].tolist() == [16, 17, 22, 23]
