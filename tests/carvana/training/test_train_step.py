"""One training step: accumulation, EMA, precision, frozen encoders, and its state."""

from collections.abc import Callable

import numpy as np
import pytest

from carvana.backend import jit, keras
from carvana.recipe import Recipe, read_recipe
from carvana.training import ema
from carvana.training.train_step import TrainStep

PHOTOS = np.random.default_rng(0).integers(256, size=(4, 16, 24, 3), dtype=np.uint8)
MASKS = (PHOTOS[..., :1] > 128).astype(np.float32)


def _recipe(*changes: str) -> Recipe:
    stages = "stages=[{size=[16, 24], epochs=2, batch_size=4, learning_rate=1e-2}]"
    return read_recipe("baseline", ["base_filters=2", "depth=1", "dropout=0", stages, *changes])


def _train_step(*changes: str, oom_halvings: int = 0) -> TrainStep:
    recipe = _recipe(*changes)
    train_step = TrainStep(recipe, oom_halvings)
    train_step.start_stage(recipe.stages[0])
    return train_step


def _weights(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def _losses(train_step: TrainStep, count: int) -> list[float]:
    return [train_step.step(PHOTOS, MASKS, 1e-2) for _ in range(count)]


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("clipped", [[], ["clip_norm=0.01"]])
def test_microbatches_update_the_weights_like_the_whole_batch(optimizer: str, clipped: list[str]) -> None:
    whole = _train_step(f"optimizer={optimizer}", *clipped)
    split = _train_step(f"optimizer={optimizer}", *clipped, "stages.0.accumulation_steps=4")
    assert _losses(split, 3) == pytest.approx(_losses(whole, 3), rel=1e-4)
    for expected, weights in zip(_weights(whole.model), _weights(split.model), strict=True):
        assert np.allclose(weights, expected, atol=1e-4)


def test_the_number_of_microbatches_may_change_between_stages() -> None:
    """Adam continues to count updates, not micro-batches."""
    stage = "{size=[16, 24], epochs=1, batch_size=4, learning_rate=1e-2"
    recipe = _recipe(f"stages=[{stage}}}, {stage}, accumulation_steps=2}}]")
    split, whole = TrainStep(recipe), _train_step()
    for stage in recipe.stages:
        split.start_stage(stage)
        assert _losses(split, 3) == pytest.approx(_losses(whole, 3), rel=1e-3)


def test_the_ema_averages_the_weights_of_each_step() -> None:
    train_step = _train_step("ema_decay=0.5", "norm=batch")
    expected = _weights(train_step.model)
    for decay in (1 / 10, 2 / 11, 3 / 12):  # the first steps' decays, all below 0.5
        _losses(train_step, 1)
        for average, weights in zip(expected, _weights(train_step.model), strict=True):
            average += (1 - decay) * (weights - average)
    last = _weights(train_step.model)
    with train_step.ema_weights() as model:
        for average, weights in zip(expected, _weights(model), strict=True):
            assert np.allclose(weights, average, atol=1e-5)
    for before, weights in zip(last, _weights(train_step.model), strict=True):
        assert (before == weights).all()


def test_the_ema_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decay changes in each of the first steps, and must not be a constant of the compiled function."""
    compilations = []

    def counting_jit(function: Callable) -> Callable:
        def traced(*arguments: object) -> object:
            compilations.append(arguments)
            return function(*arguments)

        return jit(traced)

    monkeypatch.setattr(ema, "jit", counting_jit)
    _losses(_train_step("ema_decay=0.99"), 4)
    assert len(compilations) == 1


def test_training_continues_from_a_loaded_state() -> None:
    first = _train_step("ema_decay=0.9", "clip_norm=1.0")
    second = _train_step("ema_decay=0.9", "clip_norm=1.0", "seed=1")
    _losses(first, 2)
    second.load(first.state())
    assert _losses(first, 2) == _losses(second, 2)
    with first.ema_weights() as one, second.ema_weights() as other:
        assert all((a == b).all() for a, b in zip(_weights(one), _weights(other), strict=True))


@pytest.mark.parametrize(("before", "after"), [(0, 1), (0, 2), (2, 1)])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_state_is_loaded_with_another_number_of_microbatches(
    before: int, after: int, precision: str
) -> None:
    """As after an out-of-memory error. Adam's count of updates is kept: its bias correction depends on it."""
    first, second = (
        _train_step(f"precision={precision}", oom_halvings=halvings) for halvings in (before, after)
    )
    _losses(first, 2)
    second.load(first.state())
    second.start_stage(_recipe().stages[0])
    tolerance = 1e-3 if precision == "float32" else 1e-2
    assert _losses(second, 3) == pytest.approx(_losses(first, 3), rel=tolerance)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains_and_predicts_in_float32(precision: str) -> None:
    train_step = _train_step(f"precision={precision}", "norm=weight_standardized")
    losses = _losses(train_step, 8)
    assert losses[-1] < losses[0]
    assert train_step.model.predict_on_batch(PHOTOS).dtype == np.float32
    assert {weight.dtype for weight in train_step.model.trainable_weights} == {"float32"}
    inside = [layer.compute_dtype for layer in train_step.model.layers if "conv" in layer.name]
    assert set(inside) == {precision.removeprefix("mixed_")}


def test_a_gradient_that_overflows_is_skipped() -> None:
    """In float16 at the first loss scale, 32,768; the scale is halved, and the next step updates the weights."""
    train_step = _train_step("precision=mixed_float16")
    before = _weights(train_step.model)
    train_step.step(PHOTOS, MASKS * 1e6, 1e-2)
    assert all((a == b).all() for a, b in zip(before, _weights(train_step.model), strict=True))
    _losses(train_step, 1)
    assert any((a != b).any() for a, b in zip(before, _weights(train_step.model), strict=True))


def test_a_frozen_encoder_is_not_trained_until_it_is_unfrozen() -> None:
    sizes = "stages=[{size=[32, 32], epochs=2, batch_size=2, learning_rate=1e-2}]"
    recipe = read_recipe(
        "resnet34", ["model.encoder=resnet18", "model.weights=none", "base_filters=1", sizes]
    )
    train_step = TrainStep(recipe.model_copy(update={"freeze_encoder_epochs": 1}))
    photos = np.random.default_rng(0).integers(256, size=(2, 32, 32, 3), dtype=np.uint8)

    def updated() -> set[str]:
        before = {weight.path: np.array(weight) for weight in train_step.model.weights}
        train_step.step(photos, (photos[..., :1] > 128).astype(np.float32), 1e-2)
        return {
            weight.path
            for weight in train_step.model.weights
            if (before[weight.path] != np.array(weight)).any()
        }

    train_step.start_stage(recipe.stages[0])
    train_step.model.run_eagerly = True
    first = updated()
    assert first
    assert not any(path.startswith(("conv0", "stage", "bn")) for path in first)
    train_step.unfreeze_encoder()
    train_step.start_stage(recipe.stages[0])
    train_step.model.run_eagerly = True
    assert {"conv0/kernel", "bn0/moving_mean"} <= updated()
