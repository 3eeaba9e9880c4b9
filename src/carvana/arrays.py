"""Arrays that are stored as a cache."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read_cached_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray] | None:
    """Read arrays of an .npz file by their names, or return None if the file is missing or damaged.

    A damaged file raises errors of almost any type in zipfile, zlib and NumPy; what it held can be computed again.
    """
    try:
        with np.load(path) as stored:  # a zip, whose checksums are verified on reading
            return [stored[name] for name in names]
    except Exception:
        return None
