"""The model of many GPUs, compared with the measurements on two workers and with the documentation's table."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from scale_model import ASSUMED_PHOTOS_PER_S, TEST_PHOTOS, Costs, estimate_prediction, table  # noqa: E402


@pytest.fixture
def costs() -> Costs:
    return Costs.read()


def test_the_model_of_one_worker_agrees_with_the_measurement(costs: Costs) -> None:
    estimate = estimate_prediction(costs, costs.plain_photos_per_s, 1)
    assert estimate.photos_per_s == pytest.approx(costs.one_worker_photos_per_s, rel=0.05)


def test_the_model_of_two_workers_agrees_with_the_measurement(costs: Costs) -> None:
    """The model knows one core's speed and a task's costs; the two measured workers shared one machine."""
    estimate = estimate_prediction(costs, costs.plain_photos_per_s, 2)
    assert estimate.photos_per_s == pytest.approx(costs.two_workers_photos_per_s, rel=0.15)


def test_the_documentation_shows_the_table(costs: Costs) -> None:
    assert table(costs) in (ROOT / "docs" / "performance.md").read_text()


def test_more_workers_are_faster_until_a_limit_is_reached(costs: Costs) -> None:
    numbers = (1, 2, 8, 50, 100, 400)
    seconds = [estimate_prediction(costs, ASSUMED_PHOTOS_PER_S, number).seconds for number in numbers]
    assert seconds == sorted(seconds, reverse=True)
    slow_storage = replace(costs, storage_bytes_per_s=costs.photo_bytes * 10)
    estimate = estimate_prediction(slow_storage, 5.0, 100)
    assert estimate.limit == "storage"
    assert estimate.limit_workers == pytest.approx(2, rel=0.05)
    assert estimate.photos_per_s == pytest.approx(10, rel=0.05)
    assert estimate.seconds > TEST_PHOTOS / 10
