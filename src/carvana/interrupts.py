"""Ctrl-C during calls of libraries that would lose it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Delay Ctrl-C within the block to the block's end.

    Use it around calls of h5py, such as writing a Keras model: h5py's C code calls functions of Python and discards
    their exceptions. A KeyboardInterrupt that is raised in one of them is lost, and the command goes on.
    """
    if threading.current_thread() is not threading.main_thread():  # it receives no signals
        yield
        return
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupts:
            signal.raise_signal(signal.SIGINT)
