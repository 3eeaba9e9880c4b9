"""Losses, against plain numpy."""

import numpy as np
import pytest

from carvana.training.losses import loss_of

MASK = np.random.default_rng(0).integers(2, size=(3, 8, 9, 1)).astype(np.float32)
CAR = np.random.default_rng(1).uniform(0.01, 0.99, size=(3, 8, 9, 1)).astype(np.float32)


def _bce(mask: np.ndarray, car: np.ndarray) -> float:
    return -np.mean(mask * np.log(car) + (1 - mask) * np.log(1 - car))


def _dice(mask: np.ndarray, car: np.ndarray) -> float:
    return (2 * (mask * car).sum() + 1) / (mask.sum() + car.sum() + 1)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("bce", _bce),
        ("bce_dice", lambda mask, car: _bce(mask, car) + 1 - _dice(mask, car)),
        ("bce_log_dice", lambda mask, car: _bce(mask, car) - np.log(_dice(mask, car))),
    ],
)
def test_a_value_a_photo(name: str, plain) -> None:
    losses = np.asarray(loss_of(name)(MASK, CAR))
    expected = [
        plain(mask.astype(np.float64), car.astype(np.float64)) for mask, car in zip(MASK, CAR, strict=True)
    ]
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["bce", "bce_dice", "bce_log_dice"])
@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_the_surest_mistake_is_finite(name: str, wrong: float) -> None:
    car = np.full_like(MASK, wrong)
    assert np.isfinite(np.asarray(loss_of(name)(1 - car, car))).all()


def test_a_perfect_map_costs_nothing() -> None:
    assert np.asarray(loss_of("bce_log_dice")(MASK, MASK)) == pytest.approx([0, 0, 0], abs=1e-5)
