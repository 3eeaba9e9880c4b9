"""The search of the threshold on out-of-fold photos."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.prediction_helpers import mask_of

from carvana.competition import rle
from carvana.competition.dice import dice
from carvana.competition.names import photo_name
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.evaluation.threshold import (
    THRESHOLDS,
    ThresholdResult,
    choose_threshold,
    dice_at_thresholds,
    tune_threshold,
)
from carvana.inference.config import EnsembleMember, PredictionConfig
from carvana.inference.pipeline import Prediction


def _prediction(probabilities: np.ndarray, size: tuple[int, int]) -> Prediction:
    return Prediction(Sample(Path("00000000000a_01.jpg")), size, probabilities[None], 0.0)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(6, 9), (13, 20)]), st.floats(0, 1))
def test_scores_are_the_dice_of_each_mask(seed: int, shape: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.random(shape, np.float32)
    truth = random.random((13, 20)) < share
    scores = dice_at_thresholds(_prediction(probabilities, (13, 20)), rle.mask_to_edges(truth))
    expected = [dice(mask_of(probabilities, (13, 20), threshold), truth) for threshold in THRESHOLDS]
    assert scores.tolist() == expected


def test_empty_masks_score_one() -> None:
    scores = dice_at_thresholds(_prediction(np.zeros((4, 4), np.float32), (4, 4)), np.array([], np.int64))
    assert scores.tolist() == [1.0] * len(THRESHOLDS)


def test_one_half_is_in_the_grid() -> None:
    assert 0.5 in THRESHOLDS.tolist()
    assert (np.diff(THRESHOLDS) > 0).all()
    assert 0 < THRESHOLDS[0] < THRESHOLDS[-1] < 1


def _chosen(peak: float, noise: float) -> ThresholdResult:
    """Choose a threshold for 20 cars whose Dice is highest near `peak`."""
    random = np.random.default_rng(1)
    names = [photo_name(f"{car:012x}", angle) for car in range(20) for angle in (1, 2)]
    dice = 0.99 - 0.05 * (THRESHOLDS - peak - random.normal(0, noise, (40, 1))) ** 2
    return choose_threshold(names, dice)


def test_a_threshold_that_gains_is_chosen() -> None:
    result = _chosen(peak=0.4, noise=0.02)
    assert result.threshold == result.best == pytest.approx(0.4, abs=0.01)
    assert 0 < result.gain.low < result.gain.dice < result.gain.high
    assert result.gain.dice == pytest.approx(0.05 * 0.1**2, rel=0.2)


def test_one_half_stays_if_nothing_is_gained() -> None:
    result = _chosen(peak=0.5, noise=0.2)
    assert result.threshold == 0.5
    assert result.gain.low <= 0
    assert result.scores["dice"].mean() < 0.99


def test_saved_maps_have_no_out_of_fold_photos(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --threshold a number"):
        tune_threshold(PredictionConfig((EnsembleMember("kept", 1, maps=tmp_path),)), [])
