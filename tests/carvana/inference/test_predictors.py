"""Sources of maps, and their blend."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from carvana.errors import UserError
from carvana.inference.ensemble import Maps
from carvana.inference.predictors import Blend, KeptMaps, map_path, map_png


def _said(probabilities: np.ndarray, spread: float = 0.0) -> Maps:
    return Maps(probabilities[None].astype(np.float32), np.float32(spread))


def test_maps_are_weighted_at_the_largest_size() -> None:
    small, large = np.array([[0.0, 1.0]]), np.full((2, 4), 0.5)
    together = Blend((), (0.75, 0.25)).together([_said(small, 0.4), _said(large, 0.8)])
    enlarged = cv2.resize(small.astype(np.float32), (4, 2), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(together.maps, 0.75 * enlarged + 0.25 * 0.5)
    assert together.spread == pytest.approx(0.5)


def test_a_single_source_is_passed_on() -> None:
    said = _said(np.array([[0.1, 0.2]]))
    assert Blend(()).together([said]) is said


def test_kept_maps_come_back_to_half_a_level(tmp_path: Path) -> None:
    kept = np.random.default_rng(0).random((5, 7), np.float32)
    map_path(tmp_path, "x_01.jpg").write_bytes(map_png(kept))
    source = KeptMaps(tmp_path)
    seen = source.see("x_01.jpg", None)
    assert np.abs(seen - kept).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(source.ask([seen, seen]).maps[1, 0], seen)
    with pytest.raises(UserError, match=r"y_01\.png: no such map"):
        source.see("y_01.jpg", None)
