"""What differs from backend to backend."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import tensorflow
from tests.conftest import SRC

from carvana.backend import Gpu, first_gpu, is_out_of_memory, jit

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

def train(devices):
    trainer = TrainStep(recipe, devices=devices)
    trainer.start_stage(recipe.stages[0])
    losses = [trainer.step(photos, masks, 1e-2) for _ in range(3)]
    trainer.load(trainer.state())
    with trainer.ema_weights() as model:
        return losses, model.predict_on_batch(photos)

devices = AllDevices()
assert devices.count == 2
(one, map_of_one), (two, map_of_two) = train(None), train(devices)
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
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only TensorFlow for x86 is built with oneDNN")
@pytest.mark.parametrize(("chosen", "expected"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_onednn_is_used_on_every_processor_unless_the_user_says_otherwise(
    chosen: dict[str, str], expected: str
) -> None:
    code = "import os, carvana.backend; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | chosen, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{expected}\n"


def test_compiled_function_returns_the_same() -> None:
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
def test_out_of_memory_errors_are_recognised(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


def test_there_is_no_gpu_where_tensorflow_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow.config, "get_visible_devices", lambda kind: [])
    assert first_gpu() is None


@pytest.mark.parametrize(("capability", "has_bfloat16"), [((7, 5), False), ((8, 0), True), ((10, 0), True)])
def test_a_gpu_has_bfloat16_from_compute_capability_8(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], has_bfloat16: bool
) -> None:
    """TensorFlow's description of a GPU is replaced, so that the test needs none."""
    details = {"device_name": "NVIDIA GPU", "compute_capability": capability}
    gpu = tensorflow.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tensorflow.config, "get_visible_devices", lambda kind: [gpu])
    monkeypatch.setattr(tensorflow.config.experimental, "get_device_details", lambda gpu: details)
    assert first_gpu() == Gpu("NVIDIA GPU", has_bfloat16)
