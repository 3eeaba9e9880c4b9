"""The state of a training at the end of an epoch, in one file."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carvana.errors import UserError
from carvana.files import atomic_path


@dataclass
class Progress:
    """How far a training is."""

    epoch: int = 0
    """Finished epochs, over all stages."""
    best: float = -1.0
    """Best out-of-fold Dice of the current stage."""
    frozen: bool = False
    """Whether the encoder was frozen in the last epoch."""
    oom_halvings: int = 0
    """How often a part of a batch was halved because it did not fit the device."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """An entry an epoch."""


def save(path: Path, state: Sequence[np.ndarray], progress: Progress) -> None:
    """Write a learner's state and the progress; whole, or not at all."""
    arrays = {f"v{number}": array for number, array in enumerate(state)}
    with atomic_path(path) as part:
        np.savez(part, progress=json.dumps(asdict(progress)), **arrays)


def read(path: Path) -> tuple[list[np.ndarray], Progress]:
    """Read what `save` wrote.

    Raises:
        UserError: the file is broken.
    """
    try:
        with np.load(path) as stored:
            progress = Progress(**json.loads(str(stored["progress"])))
            return [stored[f"v{number}"] for number in range(len(stored.files) - 1)], progress
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise unusable(path, error) from None


def finished_epochs(path: Path) -> int:
    """How many epochs a training has behind it; 0 where nothing that serves was saved."""
    try:
        with np.load(path) as stored:
            return Progress(**json.loads(str(stored["progress"]))).epoch
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return 0


def unusable(path: Path, error: Exception) -> UserError:
    """What to tell where a state does not serve."""
    return UserError(f"{path}: cannot be resumed from ({error}); train with --fresh")
