"""What moves the weights."""

import numpy as np
import pytest

from carvana.backend import keras
from carvana.recipe import Recipe, read_recipe
from carvana.training.train_step import TrainStep

PHOTOS = np.random.default_rng(0).integers(256, size=(4, 16, 24, 3), dtype=np.uint8)
MASKS = (PHOTOS[..., :1] > 128).astype(np.float32)


def _recipe(*changes: str) -> Recipe:
    stages = "stages=[{size=[16, 24], epochs=2, batch_size=4, learning_rate=1e-2}]"
    return read_recipe("baseline", ["base_filters=2", "depth=1", "dropout=0", stages, *changes])


def _step(*changes: str) -> TrainStep:
    recipe = _recipe(*changes)
    learner = TrainStep(recipe)
    learner.start_stage(recipe.stages[0])
    return learner


def _weights(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def _steps(learner: TrainStep, count: int) -> list[float]:
    return [learner.step(PHOTOS, MASKS, 1e-2) for _ in range(count)]


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("clipped", [[], ["clip_norm=0.01"]])
def test_a_batch_in_parts_moves_the_weights_as_the_whole_does(optimizer: str, clipped: list[str]) -> None:
    whole = _step(f"optimizer={optimizer}", *clipped)
    parts = _step(f"optimizer={optimizer}", *clipped, "stages.0.accumulate=4")
    assert _steps(parts, 3) == pytest.approx(_steps(whole, 3), rel=1e-4)
    for expected, weights in zip(_weights(whole.model), _weights(parts.model), strict=True):
        assert np.allclose(weights, expected, atol=1e-4)


def test_parts_may_change_from_stage_to_stage() -> None:
    """Adam goes on counting updates, not parts."""
    stage = "{size=[16, 24], epochs=1, batch_size=4, learning_rate=1e-2"
    recipe = _recipe(f"stages=[{stage}}}, {stage}, accumulate=2}}]")
    learner, whole = TrainStep(recipe), _step()
    for stage in recipe.stages:
        learner.start_stage(stage)
        assert _steps(learner, 3) == pytest.approx(_steps(whole, 3), rel=1e-3)


def test_the_average_is_that_of_the_last_weights() -> None:
    learner = _step("ema_decay=0.5", "norm=batch")
    expected = _weights(learner.model)
    for decay in (1 / 10, 2 / 11, 3 / 12):  # below 0.5 all of them
        _steps(learner, 1)
        for average, weights in zip(expected, _weights(learner.model), strict=True):
            average += (1 - decay) * (weights - average)
    own = _weights(learner.model)
    with learner.ema_weights() as model:
        for average, weights in zip(expected, _weights(model), strict=True):
            assert np.allclose(weights, average, atol=1e-5)
    for before, weights in zip(own, _weights(learner.model), strict=True):
        assert (before == weights).all()


def test_the_average_is_compiled_once() -> None:
    """Its share changes with each of the first steps: as a number of Python's it took longer than they."""
    learner = _step("ema_decay=0.99")
    _steps(learner, 4)
    assert learner._ema._move.experimental_get_tracing_count() == 1


def test_a_learner_goes_on_from_its_state() -> None:
    learner, other = (
        _step("ema_decay=0.9", "clip_norm=1.0"),
        _step("ema_decay=0.9", "clip_norm=1.0", "seed=1"),
    )
    _steps(learner, 2)
    other.load(learner.state())
    assert _steps(learner, 2) == _steps(other, 2)
    with learner.ema_weights() as one, other.ema_weights() as two:
        assert all((a == b).all() for a, b in zip(_weights(one), _weights(two), strict=True))


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns_and_answers_in_float32(precision: str) -> None:
    learner = _step(f"precision={precision}", "norm=weight_standardized")
    losses = _steps(learner, 8)
    assert losses[-1] < losses[0]
    assert learner.model.predict_on_batch(PHOTOS).dtype == np.float32
    assert {weight.dtype for weight in learner.model.trainable_weights} == {"float32"}
    inside = [layer.compute_dtype for layer in learner.model.layers if "conv" in layer.name]
    assert set(inside) == {precision.removeprefix("mixed_")}


def test_a_gradient_that_overflows_is_left_out() -> None:
    """In float16 at the first loss scale, 32,768; the scale is halved, and the next step moves the weights."""
    learner = _step("precision=mixed_float16")
    before = _weights(learner.model)
    learner.step(PHOTOS, MASKS * 1e6, 1e-2)
    assert all((a == b).all() for a, b in zip(before, _weights(learner.model), strict=True))
    _steps(learner, 1)
    assert any((a != b).any() for a, b in zip(before, _weights(learner.model), strict=True))


def test_a_frozen_encoder_stays_as_it_came_until_it_is_unfrozen() -> None:
    sizes = "stages=[{size=[32, 32], epochs=2, batch_size=2, learning_rate=1e-2}]"
    recipe = read_recipe(
        "resnet34", ["model.encoder=resnet18", "model.weights=none", "base_filters=1", sizes]
    )
    learner = TrainStep(recipe.model_copy(update={"freeze_encoder_epochs": 1}))
    photos = np.random.default_rng(0).integers(256, size=(2, 32, 32, 3), dtype=np.uint8)

    def moved() -> set[str]:
        before = {weight.path: np.array(weight) for weight in learner.model.weights}
        learner.step(photos, (photos[..., :1] > 128).astype(np.float32), 1e-2)
        return {
            weight.path for weight in learner.model.weights if (before[weight.path] != np.array(weight)).any()
        }

    learner.start_stage(recipe.stages[0])
    learner.model.run_eagerly = True
    early = moved()
    assert early
    assert not any(path.startswith(("conv0", "stage", "bn")) for path in early)
    learner.unfreeze()
    learner.start_stage(recipe.stages[0])
    learner.model.run_eagerly = True
    assert {"conv0/kernel", "bn0/moving_mean"} <= moved()
