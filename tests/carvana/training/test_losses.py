"""Losses, compared with NumPy."""

import cv2
import numpy as np
import pytest

from carvana.recipe import read_recipe
from carvana.training.losses import Loss, border_weights, make_loss

MASK = np.random.default_rng(0).integers(2, size=(3, 8, 9, 1)).astype(np.float32)
PROBABILITIES = np.random.default_rng(1).uniform(0.01, 0.99, size=(3, 8, 9, 1)).astype(np.float32)
DISC = cv2.circle(np.zeros((64, 96), np.float32), (40, 30), 20, 1, -1)[None, ..., None]


def _loss(name: str, *changes: str, height: int = 8) -> Loss:
    return make_loss(read_recipe("baseline", [f"loss={name}", *changes]), height)


def _bce(mask: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    return -np.mean(weights * (mask * np.log(probabilities) + (1 - mask) * np.log(1 - probabilities)))


def _dice(mask: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    return (2 * (weights * mask * probabilities).sum() + 1) / (
        (weights * mask).sum() + (weights * probabilities).sum() + 1
    )


EXPECTED = {
    "bce": _bce,
    "bce_dice": lambda *args: _bce(*args) + 1 - _dice(*args),
    "bce_log_dice": lambda *args: _bce(*args) - np.log(_dice(*args)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_loss_has_one_value_per_photo(name: str) -> None:
    losses = np.asarray(_loss(name)(MASK, PROBABILITIES))
    expected = [
        EXPECTED[name](mask.astype(np.float64), probabilities.astype(np.float64))
        for mask, probabilities in zip(MASK, PROBABILITIES, strict=True)
    ]
    assert losses == pytest.approx(expected, rel=1e-5)


def _expected_weights(mask: np.ndarray, window: int, weight: float) -> np.ndarray:
    """Weights pixel by pixel; the window is cut off at the photo's edge."""
    height, width = mask.shape
    reach, weights = window // 2, np.ones_like(mask, dtype=np.float64)
    for y in range(height):
        for x in range(width):
            around = mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            if 0.01 < around.mean() < 0.99:
                weights[y, x] = weight
    return weights / weights.mean()


@pytest.mark.parametrize("window", [1, 5, 11])
def test_pixels_near_the_edge_weigh_more(window: int) -> None:
    expected = _expected_weights(DISC[0, ..., 0], window, 3)
    assert np.allclose(np.asarray(border_weights(DISC, window, 3.0))[0, ..., 0], expected, atol=1e-5)
    assert expected.max() == pytest.approx(expected.min() * (3 if window > 1 else 1))


@pytest.mark.parametrize("name", EXPECTED)
def test_each_loss_weighs_the_border(name: str) -> None:
    """At a height of 275 the window of 41 at 1024 is 11 pixels."""
    probabilities = np.clip(cv2.GaussianBlur(DISC[0, ..., 0], (0, 0), 3), 0.01, 0.99)[None, ..., None]
    (loss,) = np.asarray(_loss(name, "border_weight=3", height=275)(DISC, probabilities))
    weights = _expected_weights(DISC[0, ..., 0], 11, 3)
    expected = EXPECTED[name](
        DISC[0, ..., 0].astype(np.float64), probabilities[0, ..., 0].astype(np.float64), weights
    )
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_the_loss_of_a_certain_mistake_is_finite(name: str, wrong: float) -> None:
    probabilities = np.full_like(MASK, wrong)
    assert np.isfinite(np.asarray(_loss(name)(1 - probabilities, probabilities))).all()


def test_the_loss_of_a_perfect_map_is_zero() -> None:
    assert np.asarray(_loss("bce_log_dice")(MASK, MASK)) == pytest.approx([0, 0, 0], abs=1e-5)
