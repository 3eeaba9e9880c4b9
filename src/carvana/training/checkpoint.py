"""Checkpoint of a training after its last finished epoch, in one file."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carvana.errors import UserError
from carvana.files import atomic_path

_INVALID = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
"""Errors raised by files that are not a checkpoint, or not a whole one."""


@dataclass
class Progress:
    """Progress of a training."""

    epoch: int = 0
    """Finished epochs, over all stages."""
    best_dice: float = -1.0
    """Best validation Dice of the current stage."""
    frozen: bool = False
    """True if the encoder was frozen in the last epoch."""
    oom_halvings: int = 0
    """Times that the micro-batch was halved because it did not fit the device's memory."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row per finished epoch."""


def save(path: Path, state: Sequence[np.ndarray], progress: Progress) -> None:
    """Write the state of a train step and the progress; the file is complete or absent."""
    arrays: dict[str, Any] = {f"v{number}": array for number, array in enumerate(state)}
    with atomic_path(path) as part:
        np.savez(part, progress=json.dumps(asdict(progress)), **arrays)


def read(path: Path) -> tuple[list[np.ndarray], Progress]:
    """Read the state and the progress that `save` wrote.

    Raises:
        UserError: the file is not a whole checkpoint.
    """
    try:
        with np.load(path) as stored:
            return [stored[f"v{number}"] for number in range(len(stored.files) - 1)], _progress(stored)
    except _INVALID as error:
        raise resume_error(path, error) from None


def finished_epochs(path: Path) -> int:
    """Return the number of finished epochs, over all stages; 0 without a valid checkpoint."""
    try:
        with np.load(path) as stored:
            return _progress(stored).epoch
    except _INVALID:
        return 0


def resume_error(path: Path, error: Exception) -> UserError:
    """Make the error for a checkpoint that a training cannot be resumed from."""
    return UserError(f"{path}: cannot be resumed from ({error}); train with --fresh")


def _progress(stored: Mapping[str, np.ndarray]) -> Progress:
    return Progress(**json.loads(str(stored["progress"])))
