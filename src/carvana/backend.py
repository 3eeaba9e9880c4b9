"""Keras, imported without the notes that its backend writes at start-up.

TensorFlow writes them before it reads its log level, so nothing but a closed door keeps them from the user.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


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


__all__ = ["keras"]
