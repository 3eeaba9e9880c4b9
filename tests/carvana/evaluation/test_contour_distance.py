"""Distances of wrong pixels from the true contour."""

import numpy as np
import pytest

from carvana.evaluation.contour_distance import error_counts
from carvana.evaluation.errors import DISTANCES


def _slow_counts(predicted: np.ndarray, true: np.ndarray) -> list[int]:
    """Count wrong pixels by bin, comparing each with all pixels of the other class."""
    counts = [0] * (len(DISTANCES) + 1)
    for pixel in np.argwhere(predicted != true):
        other_class = np.argwhere(true != true[tuple(pixel)])
        squares = ((other_class - pixel) ** 2).sum(axis=1)
        nearest = squares.min() if len(squares) else np.inf
        counts[sum(nearest > distance**2 for distance in DISTANCES)] += 1
    return counts


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [(1, 70), (48, 80), (90, 20)])
def test_counts_are_those_of_a_comparison_of_all_pixels(size: tuple[int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    centre = random.uniform(0, size)
    rows, columns = np.indices(size)
    true = np.hypot(rows - centre[0], columns - centre[1]) < random.uniform(2, 50)
    predicted = true ^ (random.random(size) < 0.1)
    assert error_counts(predicted, true).tolist() == _slow_counts(predicted, true)


def test_a_distance_belongs_to_the_bin_that_it_ends() -> None:
    true = np.zeros((1, 100), bool)
    true[:, :50] = True
    for place, distance in enumerate((2, 4, 8, 16, 32)):
        for column in (50 - distance, 49 + distance):
            predicted = true.copy()
            predicted[0, column] = not true[0, column]
            assert error_counts(predicted, true).tolist() == [int(place == bin) for bin in range(6)]


def test_a_right_mask_has_no_wrong_pixels() -> None:
    true = np.eye(20, dtype=bool)
    assert error_counts(true, true).tolist() == [0] * 6


def test_wrong_pixels_of_a_photo_without_a_contour_are_in_the_last_bin() -> None:
    empty, car = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    car[10:20, 10:20] = True
    assert error_counts(car, empty).tolist() == [0, 0, 0, 0, 0, 100]
    assert error_counts(~car, ~empty).tolist() == [0, 0, 0, 0, 0, 100]
