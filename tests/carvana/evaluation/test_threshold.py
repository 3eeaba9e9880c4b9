"""The threshold that out-of-fold maps ask for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carvana.competition.dice import dice
from carvana.competition.names import photo_name
from carvana.evaluation import threshold
from carvana.inference.config import PredictionConfig
from carvana.inference.maps import mask_of


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(6, 9), (13, 20)]), st.floats(0, 1))
def test_a_curve_is_the_dice_of_each_mask(seed: int, shape: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.random(shape, np.float32)
    truth = random.random((13, 20)) < share
    curve = threshold.dice_curve(probabilities, truth)
    for level in (1, 64, 128, 200, 255):
        mask = mask_of(probabilities, (13, 20), level / 256)
        assert curve[level - 1] == pytest.approx(dice(mask, truth), abs=1e-2)


def test_nothing_found_and_nothing_there_is_one() -> None:
    curve = threshold.dice_curve(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))
    assert curve.shape == (255,)
    assert curve.tolist() == [1.0] * 255


def _chosen(monkeypatch: pytest.MonkeyPatch, peak: float, noise: float) -> threshold.ThresholdResult:
    """Of 20 cars, whose Dice is highest near `peak`."""
    random = np.random.default_rng(1)
    names = [photo_name(f"{car:012x}", angle) for car in range(20) for angle in (1, 2)]
    levels = np.arange(1, 256) / 256
    dice = 0.99 - 0.05 * (levels - peak - random.normal(0, noise, (40, 1))) ** 2
    monkeypatch.setattr(threshold, "_out_of_fold", lambda config, photos: (names, dice))
    return threshold.tune_threshold(PredictionConfig(()), [])


def test_a_threshold_that_gains_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = _chosen(monkeypatch, peak=0.4, noise=0.02)
    assert choice.threshold == choice.best == pytest.approx(0.4, abs=0.01)
    assert 0 < choice.gain.low < choice.gain.dice < choice.gain.high
    assert choice.gain.dice == pytest.approx(0.05 * 0.1**2, rel=0.2)


def test_one_half_stays_where_nothing_is_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = _chosen(monkeypatch, peak=0.5, noise=0.2)
    assert choice.threshold == 0.5
    assert choice.gain.low <= 0
    assert choice.scores["dice"].mean() < 0.99
