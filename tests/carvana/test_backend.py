"""Functions that differ between backends."""

import os
import subprocess
import sys

import numpy as np
import pytest
from tests.conftest import SRC

from carvana.backend import is_out_of_memory, jit

TWO_DEVICES = """
import sys
if sys.argv[1] == "tensorflow":
    import tensorflow as tf
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
import numpy as np
from carvana.backend import AllDevices
from carvana.recipe import read_recipe
from carvana.training.train_step import TrainStep

small = ["base_filters=2", "depth=1", "dropout=0", "norm=weight_standardized", "ema_decay=0.9", "clip_norm=1.0"]
recipe = read_recipe("baseline", small)
photos = np.random.default_rng(0).integers(256, size=(8, 32, 48, 3), dtype=np.uint8)
masks = (photos[..., :1] > 128).astype(np.float32)

def losses(devices):
    train_step = TrainStep(recipe, devices=devices)
    train_step.start_stage(recipe.stages[0])
    values = [train_step.step(photos, masks, 1e-2) for _ in range(3)]
    train_step.load(train_step.state())
    with train_step.ema_weights() as model:
        return values, model.predict_on_batch(photos)

devices = AllDevices()
assert devices.count == 2
(one, map_of_one), (two, map_of_two) = losses(None), losses(devices)
assert np.allclose(one, two, rtol=0, atol=1e-5), (one, two)
assert one[-1] < one[0]
assert np.abs(map_of_one - map_of_two).max() < 1e-4
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_train_like_one(backend: str) -> None:
    pytest.importorskip(backend)
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(SRC),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    command = [sys.executable, "-c", TWO_DEVICES, backend]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_compiled_function_returns_the_same() -> None:
    doubled = jit(lambda x: x * 2)(np.ones(3, np.float32))
    assert np.asarray(doubled).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4.00GiB"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), True),
        (RuntimeError("INVALID_ARGUMENT: shapes differ"), False),
    ],
)
def test_out_of_memory_errors_are_recognized(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
