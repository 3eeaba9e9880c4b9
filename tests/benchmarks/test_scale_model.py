"""The model of more machines, beside what was measured on two workers, and the table that the README shows of it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from scale_model import ASSUMED_PHOTOS_S, TEST_PHOTOS, Costs, predicted, table  # noqa: E402


@pytest.fixture
def costs() -> Costs:
    return Costs.read()


def test_one_worker_is_what_was_measured(costs: Costs) -> None:
    assert predicted(costs, costs.plain_photos_s, 1).photos_s == pytest.approx(
        costs.one_worker_photos_s, rel=0.05
    )


def test_two_workers_are_what_was_measured(costs: Costs) -> None:
    """From the plain run's rate and the costs of a piece alone; the two shared a machine's memory and disk."""
    estimate = predicted(costs, costs.plain_photos_s, 2)
    assert estimate.photos_s == pytest.approx(costs.two_workers_photos_s, rel=0.15)


def test_the_documentation_shows_its_table(costs: Costs) -> None:
    assert table(costs) in (ROOT / "docs" / "performance.md").read_text()


def test_more_workers_take_less_time_until_something_is_used_up(costs: Costs) -> None:
    times = [predicted(costs, ASSUMED_PHOTOS_S, workers).seconds for workers in (1, 2, 8, 50, 100, 400)]
    assert times == sorted(times, reverse=True)
    slow = replace(costs, storage_bytes_s=costs.photo_bytes * 10)
    estimate = predicted(slow, 5.0, 100)
    assert estimate.first == "storage"
    assert estimate.at == pytest.approx(2, rel=0.05)
    assert estimate.photos_s == pytest.approx(10, rel=0.05)
    assert estimate.seconds > TEST_PHOTOS / 10
