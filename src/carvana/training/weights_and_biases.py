"""Logs for Weights & Biases. The package wandb is optional: this module is imported only where it is used."""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import wandb

from carvana import console
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.recipe import Recipe
from carvana.runs import RunDir
from carvana.training.loggers import SCALARS

_PROJECT = "carvana"
"""Project of the runs where the variable WANDB_PROJECT names none."""


class WandbLogger:
    """Logger of a run of Weights & Biases."""

    def __init__(self, run: wandb.Run) -> None:
        """Initialize with a run that was begun."""
        self._run = run

    def log_epoch(self, row: Mapping[str, float], overlays: Sequence[np.ndarray]) -> None:
        """Log the epoch as the run's step of its number; see `Logger`. A step that the run has is not replaced."""
        values = {name: row[name] for name in SCALARS if name in row}
        pictures = {
            f"validation/{number}": wandb.Image(overlay, file_type="png")
            for number, overlay in enumerate(overlays)
        }
        self._run.log(values | pictures, step=int(row["epoch"]))


@contextmanager
def open_wandb_logger(
    run: RunDir, recipe: Recipe, reporter: console.Reporter = console
) -> Iterator[WandbLogger]:
    """Begin or resume the run of Weights & Biases that belongs to a run, and finish it when the block ends.

    It is called `RECIPE fold-K`, in the group RECIPE, and its configuration is the recipe. Its files are written to
    the run's folder `wandb`. The library's variables choose all else, e.g. WANDB_MODE, WANDB_ENTITY, WANDB_PROJECT.

    Args:
        run: the run, with its metadata.
        recipe: the recipe as it is trained.
        reporter: receives a line about the place of the logs.

    Raises:
        UserError: nobody is logged in, or the server refuses the run.
    """
    facts = {"fold": run.folder.name, "fold_table": run.read_metadata().table}
    try:
        begun = wandb.init(
            dir=run.folder.absolute(),
            id=_run_id(run.wandb / "id"),
            resume="allow",
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            group=recipe.name,
            name=f"{recipe.name} {run.folder.name}",
            config=recipe.model_dump(mode="json", exclude_none=True) | facts,
            settings=wandb.Settings(silent=True, console="off"),
        )
    except wandb.Error as error:
        raise UserError(
            f"--logger wandb: {error}; log in by `wandb login`, or set WANDB_MODE=offline to log into {run.wandb}"
        ) from None
    place = Path(begun.dir).parent if begun.offline else begun.url
    reporter.message(f"{run.label}: Weights & Biases logs to {place}")
    with begun:
        yield WandbLogger(begun)


def _run_id(path: Path) -> str:
    """Return the id of the run that a training resumes, or make one and write it to `path`."""
    if not path.is_file():
        with atomic_path(path) as part:
            part.write_text(secrets.token_hex(4))
    return path.read_text()
