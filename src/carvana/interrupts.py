"""Ctrl-C during calls of libraries and imports that would lose it, or make another error of it."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_RESEND_S = 0.05
"""Seconds after which a lost interrupt is sent again: the function that lost it has then ended."""


class InterruptHandler:
    """Handler of SIGINT that raises KeyboardInterrupt, as Python's own does, and remembers it.

    Libraries can turn the exception into another one, e.g. an ImportError of a module that was half imported.
    """

    def __init__(self) -> None:
        """Initialize without an interrupt."""
        self.received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        self.received = True
        raise KeyboardInterrupt


def handle_interrupts() -> None:
    """Handle SIGINT by an `InterruptHandler`, also where Python discards the exception that it raises."""
    signal.signal(signal.SIGINT, InterruptHandler())
    sys.unraisablehook = resend_lost_interrupt


def resend_lost_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send SIGINT again if its KeyboardInterrupt was discarded, as `sys.unraisablehook`; print other exceptions.

    Python discards what is raised in destructors and in callbacks of weak references. These run at any time.
    """
    if unraisable.exc_type is KeyboardInterrupt and not sys.is_finalizing():
        resend = threading.Timer(_RESEND_S, os.kill, (os.getpid(), signal.SIGINT))
        resend.daemon = True
        resend.start()
    else:
        sys.__unraisablehook__(unraisable)


def was_interrupted() -> bool:
    """Return whether an `InterruptHandler` handles SIGINT and has received one."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, InterruptHandler) and handler.received


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Delay Ctrl-C within the block to the block's end.

    Use it around calls of h5py, such as writing a Keras model, and around imports during a run's work. h5py's C code
    and the locks of Python's imports call functions of Python and discard their exceptions. A KeyboardInterrupt that
    is raised in one of them is lost, and the command goes on.
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
