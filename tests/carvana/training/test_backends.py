"""A training step and a prediction on each backend that is installed, and weights carried from one to another."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SRC

from carvana.backend import keras
from carvana.data.padding import pad
from carvana.models.build import build, size_spec
from carvana.recipe import RECIPES, read_recipe, write_recipe

pytestmark = pytest.mark.slow

PHOTOS = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)

LEARN = """
import numpy as np
from carvana.recipe import read_recipe
from carvana.training.train_step import TrainStep

small = ["base_filters=2", "depth=2", "precision=float32", "ema_decay=0.5", "stages.0.accumulate=2"]
recipe = read_recipe("fast", small)
learner = TrainStep(recipe)
learner.start_stage(recipe.stages[0])
photos = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)
masks = (photos[..., :1] > 128).astype(np.float32)
first, *_, last = [learner.step(photos, masks, 1e-2) for _ in range(3)]
with learner.ema_weights() as model:
    maps = model.predict_on_batch(photos)
assert np.isfinite(last) and last < first, (first, last)
assert maps.shape == (2, 32, 48, 1) and np.isfinite(maps).all()
"""

CARRY = """
import sys
from pathlib import Path
import numpy as np
from carvana.backend import keras
from carvana.models.build import load
from carvana.recipe import read_recipe
from carvana.training.train_step import TrainStep

eager = keras.backend.backend() == "tensorflow"  # JAX would compile each operation on its own
for path in map(Path, sys.argv[1:]):
    stored = np.load(path.with_suffix(".npz"))
    model = load(path)
    model.run_eagerly = eager
    maps = model.predict_on_batch(stored["photos"])
    assert np.abs(maps - stored["maps"]).max() < 1e-4, (path.stem, np.abs(maps - stored["maps"]).max())
    recipe = read_recipe(str(path.with_suffix(".toml")))
    learner = TrainStep(recipe)
    learner.start_stage(recipe.stages[0])
    fresh = learner.model
    fresh.run_eagerly = eager
    before = [np.array(weights) for weights in fresh.get_weights()]
    loss = learner.step(stored["photos"], (stored["maps"] > 0.5).astype(np.float32), 1e-3)
    assert np.isfinite(loss), path.stem
    changed = [(weights != after).any() for weights, after in zip(before, fresh.get_weights())]
    assert any(changed), path.stem
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_network_learns_on(backend: str) -> None:
    _run_on(backend, LEARN)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_every_recipe_carries_over_to(backend: str, tmp_path: Path) -> None:
    """Saved here, asked there; and trained there for a step."""
    if backend == keras.backend.backend():
        pytest.skip(f"{backend} is the one that it would be carried from")
    _skip_without(backend)
    files = [_save(path.stem, tmp_path) for path in sorted(RECIPES.glob("*.toml"))]
    _run_on(backend, CARRY, *map(str, files))


def _save(name: str, folder: Path) -> Path:
    """A small network of a recipe, the recipe, and the network's maps of photos."""
    smaller = (
        ["depth=2"]
        if read_recipe(name).model == "unet"
        else ["model.weights=none", "freeze_encoder_epochs=0"]
    )
    sizes = "stages=[{size=[32, 48], epochs=1, batch_size=2, learning_rate=1e-3}]"
    recipe = read_recipe(name, ["base_filters=2", "precision=float32", *smaller, sizes])
    photos = np.stack([pad(photo, size_spec(recipe).input_size(recipe.size)) for photo in PHOTOS])
    model = build(recipe)
    model.run_eagerly = True
    _settle(model, photos)
    model.save(folder / f"{name}.keras")
    write_recipe(recipe, folder / f"{name}.toml")
    np.savez(folder / f"{name}.npz", photos=photos, maps=model.predict_on_batch(photos))
    return folder / f"{name}.keras"


def _settle(model: keras.Model, photos: np.ndarray) -> None:
    """Give batch normalisation half of these photos' statistics, without which a ResNet's numbers outgrow float32."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5  # all of them would divide by next to nothing in the lowest levels
    model(photos, training=True)


def _skip_without(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")


def _run_on(backend: str, code: str, *arguments: str) -> None:
    _skip_without(backend)
    quickly = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}  # each network is compiled for two calls
    environment = os.environ | quickly | {"KERAS_BACKEND": backend, "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
