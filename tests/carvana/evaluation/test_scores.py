"""Scores of submissions, and their bootstrap intervals."""

import numpy as np
import pandas as pd
import pytest

from carvana.errors import UserError
from carvana.evaluation.scores import (
    ScoreSummary,
    difference_cells,
    mean_with_ci,
    paired_difference,
)


def _scores(by_car: np.ndarray) -> pd.DataFrame:
    names = [f"{car:012x}_{angle + 1:02d}.jpg" for car in range(len(by_car)) for angle in range(16)]
    return pd.DataFrame({"img": names, "dice": np.repeat(by_car, 16)})


def test_the_interval_is_over_cars_not_photos() -> None:
    """Equal views of a car count as one: the interval is that of the mean of 25 cars."""
    by_car = np.random.default_rng(0).normal(0.99, 0.002, size=25)
    result = mean_with_ci(_scores(by_car))
    assert result.dice == pytest.approx(by_car.mean())
    assert result.photos == 400
    expected = 1.96 * by_car.std() / 5
    assert result.high - result.dice == pytest.approx(expected, rel=0.1)
    assert result.dice - result.low == pytest.approx(expected, rel=0.1)


def test_the_interval_is_reproducible() -> None:
    scores = _scores(np.linspace(0.9, 1, 7))
    assert mean_with_ci(scores) == mean_with_ci(scores)


def test_a_paired_difference_is_more_certain_than_the_means() -> None:
    """Cars differ by 0.01, the two recipes by 0.001 on each car: only paired scores distinguish them."""
    cars = np.random.default_rng(0).normal(0.98, 0.01, size=20)
    better = _scores(cars + np.random.default_rng(1).normal(0.001, 0.0002, size=20))
    difference = paired_difference(better, _scores(cars))
    assert difference.dice == pytest.approx(0.001, abs=2e-4)
    assert 0 < difference.low < difference.dice < difference.high
    assert mean_with_ci(better).low < mean_with_ci(_scores(cars)).dice


def test_scores_of_different_photos_are_not_paired() -> None:
    with pytest.raises(UserError, match="of 32 and of 16 photos have 16 photos in common"):
        paired_difference(_scores(np.ones(2)), _scores(np.ones(1)))


def test_texts_of_a_score_and_of_a_difference() -> None:
    summary = ScoreSummary(0.0125, 0.01, 0.015, 32)
    assert summary.cells() == ["0.012500", "0.010000 .. 0.015000", "32"]
    assert difference_cells(summary) == ["+0.012500", "+0.010000 .. +0.015000"]
    assert difference_cells(None) == ["", ""]
