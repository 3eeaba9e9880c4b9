"""The learning rate of each training step."""

import pytest

from carvana.recipe import read_recipe
from carvana.training.lr_schedule import LearningRateSchedule


def _schedule(*changes: str) -> LearningRateSchedule:
    stages = [
        "stages=[{size=[10, 10], epochs=4, batch_size=8, learning_rate=1.0}, "
        "{size=[20, 20], epochs=1, batch_size=4, learning_rate=0.5}]"
    ]
    return LearningRateSchedule(read_recipe("baseline", [*stages, *changes]), n_samples=20)


def test_a_constant_schedule_keeps_each_stages_learning_rate() -> None:
    schedule = _schedule()
    first, second = schedule.recipe.stages
    assert schedule.learning_rate(first, 3.5, 10) == 1.0
    assert schedule.learning_rate(second, 4.5, 14) == 0.5


def test_the_cosine_decays_with_the_pixels_trained_on() -> None:
    schedule = _schedule("schedule=cosine")
    first, second = schedule.recipe.stages
    assert schedule.learning_rate(first, 0, 0) == 1
    assert schedule.learning_rate(second, 4, 12) == pytest.approx(
        0.5 / 2
    )  # four small epochs have the pixels of a large one
    assert schedule.learning_rate(second, 5, 17) == pytest.approx(0)


def test_the_learning_rate_warms_up_linearly() -> None:
    schedule = _schedule("warmup_steps=4")
    assert [schedule.learning_rate(schedule.recipe.stages[0], 0, step) for step in range(5)] == [
        0.25,
        0.5,
        0.75,
        1,
        1,
    ]


def test_steps_are_counted_over_stages() -> None:
    assert [_schedule().steps_before(epoch) for epoch in range(6)] == [0, 3, 6, 9, 12, 17]
