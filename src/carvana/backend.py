"""Keras, imported without the start-up messages of its backend, and what differs from backend to backend."""

import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from carvana.errors import UserError

F = TypeVar("F", bound=Callable)


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


def jit(function: F) -> F:
    """Compile a function of tensors with the backend's compiler; PyTorch's functions are returned unchanged."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(function)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def is_out_of_memory(error: Exception) -> bool:
    """Return True if an error of any backend means that the device is out of memory."""
    is_named = type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
    return is_named or "RESOURCE_EXHAUSTED" in str(error)


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


__all__ = ["AllDevices", "is_out_of_memory", "isolated_seed", "jit", "keras"]
