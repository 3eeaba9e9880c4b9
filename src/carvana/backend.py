"""Keras, imported without the notes that its backend writes at start-up.

TensorFlow writes them before it reads its log level, so nothing but a closed door keeps them from the user.
"""

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
def _standard_error_held_back() -> Iterator[None]:
    """Keep what is written to standard error, by C++ code too, and show it only where the block fails."""
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(shown, kept.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


with _standard_error_held_back():
    import keras

# Each network compiles for each shape of batch, once; of that TensorFlow warns where there are few batches.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def isolated_seed(seed: int) -> Iterator[None]:
    """Let what is drawn within the block depend on a seed, and on nothing that other threads draw.

    Keras draws its initializers' seeds from the one generator that Python has for all threads, and Dask's heartbeat
    draws from that, too.
    """
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(seed)
    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = shared


def jit(function: F) -> F:
    """A function of tensors, compiled as the backend does it."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(function)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says, in the words of any backend, that the device's memory does not suffice."""
    named = type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
    return named or "RESOURCE_EXHAUSTED" in str(error)


class AllDevices:
    """All GPUs of the machine, or where it has none all CPU devices, that share each batch."""

    def __init__(self) -> None:
        """Find them.

        Raises:
            UserError: Keras has no data parallelism with this backend.
        """
        if keras.backend.backend() == "tensorflow":
            import tensorflow

            found = tensorflow.config.list_logical_devices
            names = [device.name for device in found("GPU") or found("CPU")]
            strategy = tensorflow.distribute.MirroredStrategy(names)
            self.count, self._scope = len(names), strategy.scope
        elif keras.backend.backend() == "jax":
            names = keras.distribution.list_devices()
            distribution = keras.distribution.DataParallel(devices=names)
            self.count, self._scope = len(names), distribution.scope
        else:
            raise UserError("--gpus all: with TensorFlow and JAX alone; Keras shares no batches with others")

    def scope(self) -> AbstractContextManager:
        """ModelEnsemble that are built, compiled and trained in such blocks, each one in all three, share batches."""
        return self._scope()


__all__ = ["AllDevices", "is_out_of_memory", "isolated_seed", "jit", "keras"]
