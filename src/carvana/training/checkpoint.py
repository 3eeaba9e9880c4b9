"""Checkpoint of a training after its last finished epoch: the one file that all other files of a run follow from."""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, TypeAdapter

from carvana.errors import UserError
from carvana.files import atomic_path

_INVALID = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of zipfile, numpy and pydantic on files that are not a checkpoint, or not a whole one."""


@dataclass
class Progress:
    """Progress of a training."""

    epoch: NonNegativeInt = 0
    """Finished epochs, over all stages."""
    best_dice: float = -1.0
    """Validation Dice of the epoch whose weights are kept."""
    frozen: bool = False
    """True if the encoder was frozen in the last epoch."""
    oom_halvings: NonNegativeInt = 0
    """Times that the micro-batch was halved because it did not fit the device's memory."""
    history: list[dict[str, int | float]] = field(default_factory=list)
    """One row per finished epoch."""


_PROGRESS = TypeAdapter(Progress)


@dataclass
class Checkpoint:
    """What a training is resumed from, and its outputs are written from."""

    state: Sequence[np.ndarray]
    """State of the train step."""
    kept: Sequence[np.ndarray]
    """Weights of the network that is saved: those of the best epoch, or of the last one."""
    progress: Progress


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file is complete or absent."""
    arrays: dict[str, Any] = {f"state{number}": array for number, array in enumerate(checkpoint.state)}
    arrays |= {f"kept{number}": array for number, array in enumerate(checkpoint.kept)}
    counts = [len(checkpoint.state), len(checkpoint.kept)]
    with atomic_path(path) as part:
        np.savez(part, counts=counts, progress=json.dumps(asdict(checkpoint.progress)), **arrays)


def read(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        UserError: the file is not a whole checkpoint.
    """
    try:
        with _open(path) as archive:
            n_state, n_kept = _read_array(archive, "counts").tolist()
            state = [_read_array(archive, f"state{number}") for number in range(n_state)]
            kept = [_read_array(archive, f"kept{number}") for number in range(n_kept)]
            return Checkpoint(state, kept, _read_progress(archive))
    except _INVALID as error:
        raise resume_error(path, error) from None


def finished_epochs(path: Path) -> int:
    """Return the number of finished epochs, over all stages; 0 without a valid checkpoint."""
    try:
        with _open(path) as archive:
            return _read_progress(archive).epoch
    except _INVALID:
        return 0


def resume_error(path: Path, error: Exception) -> UserError:
    """Make the error for a checkpoint that a training cannot be resumed from."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{path}: cannot be resumed from ({reason}); train again with --fresh")


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a checkpoint whose files are not compressed, so that none is larger than it."""
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
        yield archive


def _read_progress(archive: zipfile.ZipFile) -> Progress:
    return _PROGRESS.validate_json(str(_read_array(archive, "progress")))


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array, and verify its checksum.

    `numpy.load` would reserve memory for the shape that the array's header claims; this reads what is there, and
    raises ValueError if it is less.
    """
    content = io.BytesIO(archive.read(f"{name}.npy"))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{name} has another format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(content)
    values = np.frombuffer(content.read(), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C").copy()
