"""The folder of a run, that is of a recipe trained on a fold or on all photos, and its files.

Importing this imports no Keras.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from carvana import recipe as recipes
from carvana.arguments import command, option
from carvana.competition.names import PHOTO_FORM, PHOTO_PATTERN
from carvana.data.folds import default_table
from carvana.errors import UserError
from carvana.files import write_json
from carvana.json_model import read_json_model
from carvana.recipe import Recipe
from carvana.tables import COUNT, DICE, Number, Text, read_csv

_PREDICTION_KEYS = ("tta", "threshold")
"""Keys of a recipe that do not affect the weights."""

_RUN_NAME = re.compile(r"fold-(0|[1-9][0-9]{0,8})")
"""Names of the folders of runs."""

_HISTORY_COLUMNS = {
    "epoch": COUNT,
    "stage": COUNT,
    "height": COUNT,
    "width": COUNT,
    "learning_rate": Number(),
    "loss": Number(),
    "dice": DICE,
    "train_s": Number(0),
    "validation_s": Number(0),
}
"""Columns of `history.csv` that other code reads."""


Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
"""Precision of a network's inner layers."""

_Speed = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RunMetadata(BaseModel):
    """The file `metadata.json` of a run: the data, folds, libraries and precision of its training."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    table: str
    """Name of the fold table."""
    folds: list[NonNegativeInt] = Field(min_length=1)
    """Folds of the data, ascending."""
    split: str
    """Fingerprint of the photos, the masks and their folds."""
    backend: str
    """Backend of Keras."""
    keras: str
    """Version of Keras."""
    init: dict[str, str] | None = None
    """SHA-256 of the networks that the training started from, by file name; without it, it started at random."""
    machine: str | None = None
    """Machine of the training, e.g. `Tesla T4, 4 cores of AMD EPYC 9R14`; like the next two, absent in older runs."""
    train_photos: int | None = None
    """Number of photos that were trained on."""
    train_cars: int | None = None
    """Number of cars in these photos."""
    precision: Precision | None = None
    """Precision that was chosen where the recipe's is `auto`."""
    device: str | None = None
    """Device on which the speeds were measured."""
    step_per_s: dict[Precision, _Speed] | None = None
    """Photos per second of a training step in each precision."""

    @model_validator(mode="after")
    def _check_precision(self) -> Self:
        if self.precision is not None and self.precision not in (self.step_per_s or {}):
            raise ValueError("step_per_s lacks the precision")
        return self


class TrainingRecord(BaseModel):
    """The file `training.json` of a run on all photos: how it was trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    photos: int
    cars: int
    minutes: float
    """Minutes of the process that finished the training."""
    resumed: bool
    """True if an earlier process had trained some of the epochs."""
    machine: str
    commit: str
    """Commit of the code; "" outside a git checkout."""


@dataclass(frozen=True)
class RunDir:
    """The folder of a run: `runs/RECIPE/fold-K`, or `runs/RECIPE/all` if no fold was held out."""

    folder: Path

    @property
    def model(self) -> Path:
        """Keras model with the weights of the best epoch, or of the last if no fold is held out."""
        return self.folder / "model.keras"

    @property
    def refiner(self) -> Path:
        """Keras model of the refinement network, if the recipe has one."""
        return self.folder / "refiner.keras"

    @property
    def recipe(self) -> Path:
        """Recipe with which the run was trained."""
        return self.folder / "recipe.toml"

    @property
    def metadata(self) -> Path:
        """Data, folds and libraries of the training, as JSON."""
        return self.folder / "metadata.json"

    @property
    def history(self) -> Path:
        """Table of the training with a row per epoch."""
        return self.folder / "history.csv"

    @property
    def curve(self) -> Path:
        """Plot of the history."""
        return self.folder / "curve.png"

    @property
    def tensorboard(self) -> Path:
        """Logs for TensorBoard."""
        return self.folder / "tensorboard"

    @property
    def wandb(self) -> Path:
        """Logs for Weights & Biases, if they were requested."""
        return self.folder / "wandb"

    @property
    def scores(self) -> Path:
        """Table `img,dice`: Dice of each out-of-fold photo at its own size. It is written last of all files."""
        return self.folder / "scores.csv"

    @property
    def errors(self) -> Path:
        """Table of the wrong pixels of each out-of-fold photo by distance from the true contour.

        `carvana.evaluation.errors` reads it. Runs of earlier versions have none.
        """
        return self.folder / "errors.csv"

    @property
    def checkpoint(self) -> Path:
        """State from which training resumes after its last finished epoch."""
        return self.folder / "checkpoint.npz"

    @property
    def refiner_checkpoint(self) -> Path:
        """As `checkpoint`, of the refinement network."""
        return self.folder / "refiner-checkpoint.npz"

    @property
    def training_record(self) -> Path:
        """Record of a finished training on all photos, which has no scores. It is written last of all files."""
        return self.folder / "training.json"

    @property
    def networks(self) -> list[Path]:
        """The saved networks that exist: the model, and the refiner if there is one."""
        return [path for path in (self.model, self.refiner) if path.is_file()]

    @property
    def lock(self) -> Path:
        """Lock file of the process that trains the run."""
        return self.folder / ".lock"

    @property
    def holds_out(self) -> bool:
        """True if a fold was held out of the training; False for a run on all photos."""
        return _RUN_NAME.fullmatch(self.folder.name) is not None

    @property
    def fold(self) -> int:
        """Number of the fold that is held out; only if `holds_out`."""
        return int(self.folder.name.removeprefix("fold-"))

    @property
    def label(self) -> str:
        """The run in messages: `fold 0`, or `no fold held out`."""
        return f"fold {self.fold}" if self.holds_out else "no fold held out"

    @property
    def finished(self) -> bool:
        """True when training is complete."""
        return (self.scores if self.holds_out else self.training_record).is_file()

    def read_scores(self) -> pd.DataFrame:
        """Read the out-of-fold scores: columns img (text) and dice (0..1).

        Raises:
            UserError: no photos were held out, training is not complete, or the file is malformed.
        """
        if not self.holds_out:
            raise UserError(f"{self.folder}: has no scores, because no photos were held out of its training")
        if not self.finished:
            raise UserError(f"{self.folder}: not trained to its end")
        with advise_fresh():
            scores = read_csv(self.scores, {"img": Text(PHOTO_PATTERN, PHOTO_FORM), "dice": DICE})
            if scores.empty:
                raise UserError(f"{self.scores}: holds no scores")
        return scores

    def read_history(self) -> pd.DataFrame:
        """Read the history: its columns are numbers, one row per finished epoch.

        Raises:
            UserError: the file is missing or malformed.
        """
        with advise_fresh():
            history = read_csv(self.history, _HISTORY_COLUMNS)
            if history.empty:
                raise UserError(f"{self.history}: holds no epochs")
        return history

    def read_recipe(self) -> Recipe:
        """Read the recipe with which the run was trained.

        Raises:
            UserError: the file is missing or malformed.
        """
        with advise_fresh():
            if not self.recipe.is_file():
                raise UserError(f"{self.recipe}: no such file")
            return recipes.read_recipe(str(self.recipe))

    def read_metadata(self) -> RunMetadata:
        """Read the metadata.

        Raises:
            UserError: the file is missing or malformed.
        """
        with advise_fresh():
            return read_json_model(RunMetadata, self.metadata)

    def write_metadata(self, metadata: RunMetadata) -> None:
        """Write the metadata."""
        write_json(metadata.model_dump(exclude_none=True), self.metadata)

    def read_training_record(self) -> TrainingRecord:
        """Read the record of a finished training on all photos.

        Raises:
            UserError: training is not complete, or the file is malformed.
        """
        with advise_fresh():
            return read_json_model(TrainingRecord, self.training_record)

    def write_training_record(self, record: TrainingRecord) -> None:
        """Write the record of a finished training on all photos."""
        write_json(record.model_dump(), self.training_record)

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise UserError if this run was trained with another recipe than `recipe`.

        Keys that affect prediction only may differ.
        """
        ignored = {key: getattr(recipe, key) for key in _PREDICTION_KEYS}
        trained = self.read_recipe().model_copy(update={**ignored, "name": recipe.name})
        differing = recipes.differences(trained, recipe)
        if differing:
            raise UserError(
                f"{self.folder}: trained with another recipe; it differs in {', '.join(differing)};"
                " train again with --fresh, or choose another --runs"
            )


def run_dir(runs: Path, recipe: Recipe, fold: int | None) -> RunDir:
    """Return the folder of a recipe's run on a fold, which need not exist; None is the run on all photos."""
    return RunDir(runs / recipe.name / ("all" if fold is None else f"fold-{fold}"))


def training_commands(
    recipe: str,
    runs: Path,
    data: Path | None = None,
    changes: Sequence[str] = (),
    fold: int | None = None,
    *,
    on_kaggle: bool = False,
) -> str:
    """Return the commands, for a message, that train a recipe: those that prepare the data only if they are needed.

    Args:
        recipe: the recipe's name or file.
        runs: the folder of the runs.
        data: the data folder, if the command that fails has one.
        changes: `key=value` changes of the recipe.
        fold: the only fold to train, or None for all.
        on_kaggle: train on Kaggle's machines.
    """
    commands = []
    if on_kaggle:
        options = ["--on", "kaggle"]
    else:
        options = option("--data", data, "data")
        data = data or Path("data")
        table, default = _fold_table(runs / Path(recipe).stem, data), default_table(data)
        if not options and not (data / "train").is_dir():
            commands.append(command("prepare"))
        if not table.is_file():
            commands.append(command("split", *options))
        options += option("--folds", table, str(default))
    options += [*option("--fold", None if fold is None else str(fold)), *option("--runs", runs, "runs")]
    options += [argument for change in changes for argument in ("--set", change)]
    commands.append(command("train", "--recipe", recipe, *options))
    *first, last = commands
    return f"{', '.join(first)} and {last} come first" if first else f"{last} comes first"


def _fold_table(folder: Path, data: Path) -> Path:
    """Return the fold table with which the runs in the folder of a recipe were begun, or the data's default one."""
    default = default_table(data)
    begun = next((run for run in recipe_runs(folder) if run.metadata.is_file()), None)
    if begun:
        with suppress(UserError):  # a damaged file is another message's subject
            table = default.with_name(f"{begun.read_metadata().table}.csv")
            return table if table.is_file() else default
    return default


def prediction_command(runs: Path, data: Path, *, all_folds: bool = False) -> str:
    """Return a command, for a message, that predicts with a trained recipe, or one that runs all steps.

    Args:
        runs: the folder of the runs.
        data: the data folder.
        all_folds: only name a recipe of which all folds are trained.
    """
    for name, finished in finished_runs_by_recipe(runs).items():
        is_complete = finished[0].metadata.is_file() and len(finished) == len(
            finished[0].read_metadata().folds
        )
        if recipes.is_recipe_name(name) and (is_complete or not all_folds):
            fold = [] if is_complete else ["--fold", str(finished[0].fold)]
            place = ["--data", str(data), *option("--runs", runs, "runs")]
            return command("predict", "--recipe", name, *place, *fold)
    return "`./run.sh`, which runs all steps,"


def finished_runs(
    runs: Path, recipe: Recipe, fold: int | None = None, advice: Callable[[], str] | None = None
) -> list[RunDir]:
    """Return the finished runs of a recipe: one for each fold of its fold table, or only that of `fold`.

    Args:
        runs: the folder of the runs.
        recipe: the recipe.
        fold: the fold, or None for all.
        advice: returns what to do about a missing run, for the message; by default `training_commands` does.

    Raises:
        UserError: a run is missing or not finished, or was trained with another recipe or on other data.
    """
    advice = advice or partial(training_commands, recipe.name, runs, fold=fold)
    if fold is not None:
        return [_check_finished(run_dir(runs, recipe, fold), recipe, advice)]
    begun = [run for run in recipe_runs(runs / recipe.name) if run.metadata.is_file()]
    if not begun:
        raise UserError(f"{runs / recipe.name}: not trained; {advice()}")
    folds = begun[0].read_metadata().folds
    first, *others = [_check_finished(run_dir(runs, recipe, number), recipe, advice) for number in folds]
    for run in others:
        if run.read_metadata().split != first.read_metadata().split:
            raise UserError(
                f"{run.folder}: trained on another split than {first.folder}; train again with --fresh"
            )
    return [first, *others]


def recipe_runs(folder: Path) -> list[RunDir]:
    """List the runs in the folder of a recipe by their fold; folders of other names than `fold-K` are ignored."""
    runs = [RunDir(path) for path in folder.glob("fold-*/") if _RUN_NAME.fullmatch(path.name)]
    return sorted(runs, key=lambda run: run.fold)


def finished_runs_by_recipe(runs: Path) -> dict[str, list[RunDir]]:
    """Find all finished runs in the folder `runs`: those of each recipe by fold, sorted by recipe."""
    found = {
        folder.name: [run for run in recipe_runs(folder) if run.finished]
        for folder in sorted(runs.glob("[!.]*/"))
    }
    return {recipe: finished for recipe, finished in found.items() if finished}


@contextmanager
def advise_fresh() -> Iterator[None]:
    """Add to the message of a UserError about a run's file in the block what to do: train again."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; train again with --fresh") from None


def _check_finished(run: RunDir, recipe: Recipe, advice: Callable[[], str]) -> RunDir:
    if not run.finished:
        raise UserError(f"{run.folder}: not trained to its end; {advice()}")
    run.check_recipe(recipe)
    return run
