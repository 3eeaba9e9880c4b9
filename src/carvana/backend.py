"""Keras, imported without the start-up messages of its backend, and what differs from backend to backend."""

import logging
import os
import platform
import random
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from carvana.errors import UserError

F = TypeVar("F", bound=Callable)

_BFLOAT16_CAPABILITY = (8, 0)
"""Lowest compute capability of a GPU with bfloat16."""


@contextmanager
def _stderr_shown_on_failure() -> Iterator[None]:
    """Capture standard error, including that of C++ code, and print it only if the block fails."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


# By itself, TensorFlow uses oneDNN only on processors with instructions for networks, such as AVX-512's. It trains up
# to twice as fast on others, too.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

with _stderr_shown_on_failure():  # TensorFlow writes messages before it reads its log level
    import keras

# TensorFlow warns of repeated tracing when there are few batches of each shape.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def isolated_seed(seed: int) -> Iterator[None]:
    """Seed Keras's random numbers for the block, independently of random numbers that other threads draw.

    Keras draws the seeds of initializers from Python's global generator, which other threads (Dask's heartbeat is
    one) use, too. Within the block Keras uses a generator of its own.
    """
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(seed)
    global_generator = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = global_generator


@contextmanager
def isolated_names() -> Iterator[None]:
    """Number the layers without a name of their own from the start, as if no network had been built before.

    Otherwise a network's names, and with them the bytes of its file, depend on what the process did before.
    """
    from keras.src.backend.common import global_state

    key = "object_name_uids"  # of keras.src.utils.naming
    used = global_state.get_global_attribute(key)
    global_state.set_global_attribute(key, defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(key, used)


def jit(function: F) -> F:
    """Compile a function of tensors with the backend's compiler; PyTorch's functions are returned unchanged."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(function)
    if keras.backend.backend() == "jax":
        import jax

        compiled: Any = jax.jit(function)  # keeps the function's arguments and results
        return compiled
    return function


def is_out_of_memory(error: Exception) -> bool:
    """Return True if an error of any backend means that the device is out of memory."""
    is_named = type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
    return is_named or "RESOURCE_EXHAUSTED" in str(error)


@dataclass(frozen=True)
class Gpu:
    """A GPU."""

    name: str
    has_bfloat16: bool
    """False below compute capability 8.0: such a GPU computes fast in float16 only."""


def first_gpu() -> Gpu | None:
    """Return the GPU on which the backend computes by default, or None if it computes on the processor."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow

        gpus = tensorflow.config.get_visible_devices("GPU")
        if gpus:
            details = tensorflow.config.experimental.get_device_details(gpus[0])
            capability = details.get("compute_capability", _BFLOAT16_CAPABILITY)  # AMD's GPUs have none
            return Gpu(details.get("device_name", gpus[0].name), capability >= _BFLOAT16_CAPABILITY)
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "gpu":
            is_old = re.fullmatch(r"[1-7]\.\d", str(device.compute_capability))
            return Gpu(device.device_kind, not is_old)
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            capability = torch.cuda.get_device_capability()
            return Gpu(torch.cuda.get_device_name(), capability >= _BFLOAT16_CAPABILITY)
    return None


class AllDevices:
    """Data parallelism over all GPUs of the machine, or over all CPU devices if it has no GPU."""

    def __init__(self) -> None:
        """Find the devices; `count` is their number.

        Raises:
            UserError: Keras has no data parallelism with this backend.
        """
        if keras.backend.backend() == "tensorflow":
            import tensorflow

            devices = tensorflow.config.list_logical_devices
            names = [device.name for device in devices("GPU") or devices("CPU")]
            strategy = tensorflow.distribute.MirroredStrategy(names)
            self.count, self._scope = len(names), strategy.scope
        elif keras.backend.backend() == "jax":
            names = keras.distribution.list_devices()
            distribution = keras.distribution.DataParallel(devices=names)
            self.count, self._scope = len(names), distribution.scope
        else:
            raise UserError(
                "--gpus all: only with TensorFlow and JAX; Keras has no data parallelism with other backends"
            )

    def scope(self) -> AbstractContextManager:
        """Return a context in which a model that is built, compiled and trained distributes each batch.

        All three steps must be in such a context.
        """
        return self._scope()


__all__ = [
    "AllDevices",
    "Gpu",
    "first_gpu",
    "is_out_of_memory",
    "isolated_names",
    "isolated_seed",
    "jit",
    "keras",
]
