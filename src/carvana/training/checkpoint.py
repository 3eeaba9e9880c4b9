"""The state of a training at the end of an epoch, in one file."""

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carvana.backend import keras
from carvana.errors import InputError
from carvana.files import write_whole


@dataclass
class Progress:
    """How far a training is."""

    epoch: int = 0
    """Finished epochs, over all stages."""
    best: float = -1.0
    """Best out-of-fold Dice of the current stage."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """An entry an epoch."""


def save(path: Path, model: keras.Model, progress: Progress) -> None:
    """Write weights, optimiser state, random state and progress; whole, or not at all."""
    arrays = {f"v{number}": np.asarray(variable) for number, variable in enumerate(_variables(model))}
    with write_whole(path) as part:
        np.savez(part, progress=json.dumps(asdict(progress)), **arrays)


def restore(path: Path, model: keras.Model) -> Progress:
    """Put the state that `save` wrote back into a compiled model; a fresh start where there is no file.

    Raises:
        InputError: the file is not of this network.
    """
    if not path.is_file():
        return Progress()
    variables = _variables(model)
    try:
        with np.load(path) as state:
            progress = Progress(**json.loads(str(state["progress"])))
            for number, variable in enumerate(variables):
                variable.assign(state[f"v{number}"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be resumed from ({error}); train with --fresh") from None
    return progress


def _variables(model: keras.Model) -> list[keras.Variable]:
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
