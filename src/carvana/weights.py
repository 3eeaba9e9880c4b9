"""Trained weights that come with the code, in `weights/NAME`. Importing this imports no Keras.

Such a folder is that of a run on all photos, whose networks are stored in float16, with a description of its files.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from carvana.errors import UserError
from carvana.files import sha256_of_file, write_json
from carvana.json_model import read_json_model
from carvana.runs import RunDir

WEIGHTS = Path(__file__).parents[2] / "weights"
"""The folder of the weights that come with the code."""

_DESCRIPTION = "weights.json"


class FoldScore(BaseModel):
    """The mean Dice of the held-out photos of a fold, by a network that was trained on the other folds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fold: int
    dice: float = Field(ge=0, le=1)
    photos: int


class WeightsDescription(BaseModel):
    """The file `weights.json` beside weights: the checksums of the other files, and what estimates their quality."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    """Name of the recipe."""
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
    """SHA-256 of each file by its name."""
    out_of_fold: list[FoldScore]
    """Scores of the same recipe's folds; the weights themselves were trained on all photos and have none."""


def is_weights_name(name: str) -> bool:
    """Return True if weights of this name come with the code."""
    return "/" not in name and (WEIGHTS / name / _DESCRIPTION).is_file()


def find_weights(name: str, *, or_recipe: bool = False) -> RunDir:
    """Find weights by their name in `weights/`, or by their folder, and verify their checksums.

    Args:
        name: e.g. `fast` or `fast/`, or the folder of weights or of a finished run, such as `runs/fast/fold-0`.
        or_recipe: name recipes among the alternatives, in the message about unknown weights.

    Raises:
        UserError: there are no such weights, or a file is not the one that was described.
    """
    run = RunDir(WEIGHTS / name if is_weights_name(name) else Path(name).absolute())
    if not run.model.is_file() and is_weights_name(name.rstrip("/")):
        run = RunDir(WEIGHTS / name)
    if not run.model.is_file():
        known = sorted(path.parent.name for path in WEIGHTS.glob(f"*/{_DESCRIPTION}"))
        raise UserError(
            f"{name}: no such weights; known are {', '.join(known) or 'none'}, or give the folder of a finished run"
            f"{' or a recipe' if or_recipe else ''}"
        )
    folder = run.folder
    if (folder / _DESCRIPTION).is_file():
        check_files(folder)
    if not run.finished:
        raise UserError(f"{folder}: not trained to its end; train it with the same command as before")
    return run


def weights_name(run: RunDir) -> str:
    """Return the name of weights in outputs: `fast-weights`, or for a run `fast-all` or `fast-fold-0`."""
    if (run.folder / _DESCRIPTION).is_file():
        return f"{read_description(run.folder).recipe}-weights"
    return f"{run.folder.parent.name}-{run.folder.name}"


def read_description(folder: Path) -> WeightsDescription:
    """Read the description of weights.

    Raises:
        UserError: it is missing or malformed.
    """
    return read_json_model(WeightsDescription, folder / _DESCRIPTION, "; copy the folder again")


def write_description(description: WeightsDescription, folder: Path) -> None:
    """Write the description of weights."""
    write_json(description.model_dump(), folder / _DESCRIPTION)


def check_files(folder: Path) -> None:
    """Raise UserError if the files of weights are not those of their description."""
    for name, expected in read_description(folder).sha256.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: no such file, though {_DESCRIPTION} names it; copy the folder again")
        if sha256_of_file(path) != expected:
            raise UserError(f"{path}: its SHA-256 is not that of {_DESCRIPTION}; copy the folder again")
