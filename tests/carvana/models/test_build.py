"""Every recipe as a small network: a training step, a prediction, saving and loading."""

import random
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.prediction_helpers import probability_maps

from carvana.backend import keras
from carvana.data.padding import pad
from carvana.models.build import build, load, save, size_spec
from carvana.recipe import RECIPES, read_recipe
from carvana.training.precision import with_faster_precision
from carvana.training.train_step import TrainStep

SMALL = ["base_filters=2", "tta=none", "stages=[{size=[30, 50], epochs=1, batch_size=2, learning_rate=1e-3}]"]


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_every_recipe_trains_predicts_and_survives_saving(name: str, tmp_path: Path) -> None:
    shrink = (
        ["depth=2"]
        if read_recipe(name).model == "unet"
        else ["model.weights=none", "freeze_encoder_epochs=0"]
    )
    recipe = with_faster_precision(read_recipe(name, [*SMALL, *shrink]))
    trainer, spec = TrainStep(recipe), size_spec(recipe)
    trainer.start_stage(recipe.stages[0])
    model = _eager(trainer.model)
    photos = list(np.random.default_rng(0).integers(256, size=(2, 30, 50, 3), dtype=np.uint8))
    masks = [pad(photo[..., 0] > 128, spec.map_size(recipe.size)) for photo in photos]
    before = [weights.copy() for weights in model.get_weights()]
    padded = np.stack([pad(photo, spec.input_size(recipe.size)) for photo in photos])
    loss = trainer.step(padded, np.stack(masks)[..., None].astype(np.float32), 1e-3)
    assert np.isfinite(loss)
    assert any((weights != after).any() for weights, after in zip(before, model.get_weights(), strict=True))
    maps = list(probability_maps([model], photos, size_spec=spec, tta=recipe.tta))
    assert all(one.shape == (1, 30, 50) and one.min() >= 0 and one.max() <= 1 for one in maps)
    save(model, tmp_path / "model.keras")
    again = probability_maps([_eager(load(tmp_path / "model.keras"))], photos, size_spec=spec, tta=recipe.tta)
    for one, other in zip(maps, again, strict=True):
        assert np.array_equal(one, other)
    assert '"Lambda"' not in model.to_json()


def test_weights_do_not_depend_on_random_numbers_of_other_threads() -> None:
    recipe, stop = read_recipe("miniature", SMALL), threading.Event()
    expected = build(recipe).get_weights()

    def draw() -> None:
        while not stop.wait(0.0001):
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for weight, other in zip(expected, build(recipe).get_weights(), strict=True):
            assert np.array_equal(weight, other)
    finally:
        stop.set()
        thread.join()


def _eager(model: keras.Model) -> keras.Model:
    """Run without TensorFlow's graphs, which take seconds each to trace; other tests use them."""
    model.run_eagerly = True
    return model
