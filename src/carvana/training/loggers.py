"""Loggers of a training: receivers of the figures and the overlays of each epoch, beside the run's own files."""

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import numpy as np

from carvana import console
from carvana.errors import UserError
from carvana.interrupts import deferred_interrupts
from carvana.recipe import Recipe
from carvana.runs import RunDir

LoggerName = Literal["tensorboard", "wandb"]
"""`tensorboard`, or `wandb` for Weights & Biases beside it."""

SCALARS = ("loss", "dice", "learning_rate", "loader_per_s", "step_per_s")
"""Columns of the history that are logged."""


class Logger(Protocol):
    """Receiver of a run's epochs."""

    def log_epoch(self, row: Mapping[str, float], overlays: Sequence[np.ndarray]) -> None:
        """Log one epoch. An epoch that is trained again, because its training was killed, is logged again.

        Args:
            row: the epoch's row of the history; without `dice` if no photos are held out.
            overlays: validation photos (height, width, 3), uint8, RGB, with the edges of mask and truth.
        """


def check_installed(name: LoggerName) -> None:
    """Raise UserError if the package of a logger is not installed."""
    spec = importlib.util.find_spec("wandb") if name == "wandb" else None
    if name == "wandb" and (spec is None or spec.origin is None):  # without origin: a folder of this name
        raise UserError(
            "--logger wandb: the package wandb is not installed; install it by"
            f" `{sys.executable} -m pip install wandb`"
        )


@contextmanager
def open_loggers(
    name: LoggerName, run: RunDir, recipe: Recipe, reporter: console.Reporter = console
) -> Iterator[list[Logger]]:
    """Yield the loggers of a run: TensorBoard's, and that of Weights & Biases if `name` is `wandb`.

    Args:
        name: the logger that was requested.
        run: the run, with its metadata.
        recipe: the recipe as it is trained.
        reporter: receives a line about the place of the logs.

    Raises:
        UserError: the logger's package is not installed, or its server refuses the run.
    """
    # Here, because `train` needs this module before it imports heavy ones, and wandb is optional.
    with deferred_interrupts():
        from carvana.training.tensorboard import TensorBoardLogger

    loggers: list[Logger] = [TensorBoardLogger(run.tensorboard)]
    if name == "tensorboard":
        yield loggers
        return
    check_installed(name)
    with deferred_interrupts():
        from carvana.training.weights_and_biases import open_wandb_logger

    with open_wandb_logger(run, recipe, reporter) as logger:
        yield [*loggers, logger]
