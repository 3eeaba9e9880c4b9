"""The inputs that are attached to a notebook. Only the standard library is imported."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

COMPETITION = "carvana-image-masking-challenge"
"""Name of the competition, and of the folder of its data."""
INPUTS = Path("/kaggle/input")
"""Folder of a notebook's inputs, which is only read."""


def competition_folders(inputs: Path) -> list[Path]:
    """Return the folders in which Kaggle has the competition's data: one for each of its two layouts."""
    return [inputs / "competitions" / COMPETITION, inputs / COMPETITION]


def attached_files(inputs: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Yield the files of attached outputs and datasets with some names, but none of the competition's many files."""
    for folder, folders, names in os.walk(inputs):
        folders[:] = sorted(name for name in folders if name != COMPETITION)
        for name in sorted(names):
            if any(fnmatch(name, pattern) for pattern in patterns):
                yield Path(folder) / name
