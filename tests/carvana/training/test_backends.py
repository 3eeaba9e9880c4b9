"""Training steps and predictions on each installed backend, and weights transferred from one to another."""

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
from carvana.models.build import build, save, size_spec
from carvana.recipe import RECIPES, read_recipe, write_recipe

pytestmark = pytest.mark.slow

PHOTOS = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)

TRAIN = """
import sys
from pathlib import Path
import numpy as np
from carvana.models.build import load, save
from carvana.recipe import read_recipe
from carvana.training.train_step import TrainStep

small = ["base_filters=2", "depth=2", "precision=float32", "ema_decay=0.5", "stages.0.accumulation_steps=2"]
recipe, path = read_recipe("fast", small), Path(sys.argv[1])
train_step = TrainStep(recipe)
train_step.start_stage(recipe.stages[0])
photos = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)
masks = (photos[..., :1] > 128).astype(np.float32)
first, *_, last = [train_step.step(photos, masks, 1e-2) for _ in range(3)]
with train_step.ema_weights() as model:
    maps = model.predict_on_batch(photos)
    save(model, path)
    averages = model.get_weights()
assert path.stat().st_size < 4 * model.count_params() + 120_000  # neither an optimizer nor a second average
assert np.abs(load(path).predict_on_batch(photos) - maps).max() < 1e-5
with train_step.with_weights(averages) as model:
    assert np.abs(model.predict_on_batch(photos) - maps).max() < 1e-5
assert np.isfinite(last) and last < first, (first, last)
assert maps.shape == (2, 32, 48, 1) and np.isfinite(maps).all()
"""

TRANSFER = """
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
    train_step = TrainStep(recipe)
    train_step.start_stage(recipe.stages[0])
    model = train_step.model
    model.run_eagerly = eager
    before = [np.array(weights) for weights in model.get_weights()]
    loss = train_step.step(stored["photos"], (stored["maps"] > 0.5).astype(np.float32), 1e-3)
    assert np.isfinite(loss), path.stem
    changed = [(weights != after).any() for weights, after in zip(before, model.get_weights())]
    assert any(changed), path.stem
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_network_is_trained_and_saved_on(backend: str, tmp_path: Path) -> None:
    _run_on(backend, TRAIN, str(tmp_path / "model.keras"))


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_every_recipe_is_transferred_to(backend: str, tmp_path: Path) -> None:
    """A model saved on this backend gives the same maps on another, and is trained there for a step."""
    if backend == keras.backend.backend():
        pytest.skip(f"{backend} is the backend that the models are saved on")
    _skip_without(backend)
    files = [_save(path.stem, tmp_path) for path in sorted(RECIPES.glob("*.toml"))]
    _run_on(backend, TRANSFER, *map(str, files))


def _save(name: str, folder: Path) -> Path:
    """Save a small network of a recipe, the recipe, and the network's maps of photos."""
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
    _set_batch_statistics(model, photos)
    save(model, folder / f"{name}.keras")
    write_recipe(recipe, folder / f"{name}.toml")
    np.savez(folder / f"{name}.npz", photos=photos, maps=model.predict_on_batch(photos))
    return folder / f"{name}.keras"


def _set_batch_statistics(model: keras.Model, photos: np.ndarray) -> None:
    """Mix the photos' statistics into batch normalisation, without which a ResNet's activations exceed float32."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5  # at 0 the variance of the lowest levels would be nearly 0
    model(photos, training=True)


def _skip_without(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")


def _run_on(backend: str, code: str, *arguments: str) -> None:
    _skip_without(backend)
    fast_compilation = {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"
    }  # each network is compiled for two calls only
    environment = os.environ | fast_compilation | {"KERAS_BACKEND": backend, "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
