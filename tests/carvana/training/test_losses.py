"""Losses, against plain numpy."""

import cv2
import numpy as np
import pytest

from carvana.recipe import read_recipe
from carvana.training.losses import Loss, border_weights, make_loss

MASK = np.random.default_rng(0).integers(2, size=(3, 8, 9, 1)).astype(np.float32)
CAR = np.random.default_rng(1).uniform(0.01, 0.99, size=(3, 8, 9, 1)).astype(np.float32)
DISC = cv2.circle(np.zeros((64, 96), np.float32), (40, 30), 20, 1, -1)[None, ..., None]


def _loss(name: str, *changes: str, height: int = 8) -> Loss:
    return make_loss(read_recipe("baseline", [f"loss={name}", *changes]), height)


def _bce(mask: np.ndarray, car: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    return -np.mean(weights * (mask * np.log(car) + (1 - mask) * np.log(1 - car)))


def _dice(mask: np.ndarray, car: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    return (2 * (weights * mask * car).sum() + 1) / ((weights * mask).sum() + (weights * car).sum() + 1)


PLAIN = {
    "bce": _bce,
    "bce_dice": lambda *of: _bce(*of) + 1 - _dice(*of),
    "bce_log_dice": lambda *of: _bce(*of) - np.log(_dice(*of)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_value_a_photo(name: str) -> None:
    losses = np.asarray(_loss(name)(MASK, CAR))
    expected = [
        PLAIN[name](mask.astype(np.float64), car.astype(np.float64))
        for mask, car in zip(MASK, CAR, strict=True)
    ]
    assert losses == pytest.approx(expected, rel=1e-5)


def _plain_weights(mask: np.ndarray, window: int, weight: float) -> np.ndarray:
    """A window around each pixel, as far as the photo reaches."""
    height, width = mask.shape
    reach, weights = window // 2, np.ones_like(mask, dtype=np.float64)
    for y in range(height):
        for x in range(width):
            seen = mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            if 0.01 < seen.mean() < 0.99:
                weights[y, x] = weight
    return weights / weights.mean()


@pytest.mark.parametrize("window", [1, 5, 11])
def test_pixels_near_the_edge_weigh_more(window: int) -> None:
    expected = _plain_weights(DISC[0, ..., 0], window, 3)
    assert np.allclose(np.asarray(border_weights(DISC, window, 3.0))[0, ..., 0], expected, atol=1e-5)
    assert expected.max() == pytest.approx(expected.min() * (3 if window > 1 else 1))


@pytest.mark.parametrize("name", PLAIN)
def test_the_border_counts_in_each_loss(name: str) -> None:
    """At a height of 275 the window of 41 at 1024 is 11 pixels."""
    car = np.clip(cv2.GaussianBlur(DISC[0, ..., 0], (0, 0), 3), 0.01, 0.99)[None, ..., None]
    (loss,) = np.asarray(_loss(name, "border_weight=3", height=275)(DISC, car))
    weights = _plain_weights(DISC[0, ..., 0], 11, 3)
    plain = PLAIN[name](DISC[0, ..., 0].astype(np.float64), car[0, ..., 0].astype(np.float64), weights)
    assert loss == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_the_surest_mistake_is_finite(name: str, wrong: float) -> None:
    car = np.full_like(MASK, wrong)
    assert np.isfinite(np.asarray(_loss(name)(1 - car, car))).all()


def test_a_perfect_map_costs_nothing() -> None:
    assert np.asarray(_loss("bce_log_dice")(MASK, MASK)) == pytest.approx([0, 0, 0], abs=1e-5)
