"""One training step and one prediction on each backend that is installed."""

import importlib.util
import os
import subprocess
import sys

import pytest
from tests.conftest import SRC

STEP = """
import numpy as np
from carvana.recipe import read_recipe
from carvana.training.fit import compiled

model = compiled(read_recipe("fast", ["width=2", "precision=float32"]))
photos = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)
masks = (photos[..., :1] > 128).astype(np.float32)
first, *_, last = [float(model.train_on_batch(photos, masks)) for _ in range(3)]
maps = model.predict_on_batch(photos)
assert np.isfinite(last) and last < first, (first, last)
assert maps.shape == (2, 32, 48, 1) and np.isfinite(maps).all()
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_step_on(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(SRC)}
    done = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
