"""Sources of maps, and their blend."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from carvana.errors import UserError
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import SavedMaps, WeightedEnsemble, encode_map, map_path


def _said(probabilities: np.ndarray, disagreement: float = 0.0) -> ProbabilityMaps:
    return ProbabilityMaps(probabilities[None].astype(np.float32), np.float32(disagreement))


def test_maps_are_weighted_at_the_largest_size() -> None:
    small, large = np.array([[0.0, 1.0]]), np.full((2, 4), 0.5)
    together = WeightedEnsemble((), (0.75, 0.25)).combine([_said(small, 0.4), _said(large, 0.8)])
    enlarged = cv2.resize(small.astype(np.float32), (4, 2), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(together.maps, 0.75 * enlarged + 0.25 * 0.5)
    assert together.disagreement == pytest.approx(0.5)


def test_a_single_source_is_passed_on() -> None:
    said = _said(np.array([[0.1, 0.2]]))
    assert WeightedEnsemble(()).combine([said]) is said


def test_kept_maps_come_back_to_half_a_level(tmp_path: Path) -> None:
    kept = np.random.default_rng(0).random((5, 7), np.float32)
    map_path(tmp_path, "x_01.jpg").write_bytes(encode_map(kept))
    source = SavedMaps(tmp_path)
    seen = source.prepare("x_01.jpg", None)
    assert np.abs(seen - kept).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(source.predict([seen, seen]).maps[1, 0], seen)
    with pytest.raises(UserError, match=r"y_01\.png: no such map"):
        source.prepare("y_01.jpg", None)
