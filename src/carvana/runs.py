"""A run: a recipe trained on a fold, and where its files lie. Importing this imports no Keras."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana import recipe as recipes
from carvana.errors import UserError
from carvana.recipe import Recipe
from carvana.tables import read_csv

_ASKED_ONLY = ("tta", "threshold")
"""Keys that do not concern the weights."""


@dataclass(frozen=True)
class RunDir:
    """The folder `runs/RECIPE/fold-K`."""

    folder: Path

    @property
    def model(self) -> Path:
        """The best weights, as a Keras model."""
        return self.folder / "model.keras"

    @property
    def recipe(self) -> Path:
        """The recipe as it was run."""
        return self.folder / "recipe.toml"

    @property
    def metadata(self) -> Path:
        """What it was trained on and with, as JSON."""
        return self.folder / "metadata.json"

    @property
    def history(self) -> Path:
        """An epoch a row."""
        return self.folder / "history.csv"

    @property
    def curve(self) -> Path:
        """The history as a picture."""
        return self.folder / "curve.png"

    @property
    def tensorboard(self) -> Path:
        """Logs for TensorBoard."""
        return self.folder / "tensorboard"

    @property
    def scores(self) -> Path:
        """Columns `img,dice`: each out-of-fold photo's Dice at its own size. Written last of all."""
        return self.folder / "scores.csv"

    @property
    def checkpoint(self) -> Path:
        """All that training needs to go on from its last finished epoch."""
        return self.folder / "checkpoint.npz"

    @property
    def lock(self) -> Path:
        """Held by the process that trains it."""
        return self.folder / ".lock"

    @property
    def fold(self) -> int:
        """The fold that was held out."""
        return int(self.folder.name.removeprefix("fold-"))

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.scores.is_file()

    def read_scores(self) -> pd.DataFrame:
        """The out-of-fold scores: columns img (text) and dice (0..1).

        Raises:
            UserError: training has not come to its end.
        """
        if not self.finished:
            raise UserError(f"{self.folder}: not trained to its end")
        return read_csv(self.scores, ["img", "dice"]).astype({"dice": float})

    def read_recipe(self) -> Recipe:
        """The recipe as it was run."""
        return recipes.read_recipe(str(self.recipe))

    def read_metadata(self) -> dict:
        """What it was trained on and with: keys table, folds (all of the table), split, and libraries."""
        return json.loads(self.metadata.read_text())

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise UserError where this run's weights come from another recipe than `recipe`."""
        asked = {key: getattr(recipe, key) for key in _ASKED_ONLY}
        trained = self.read_recipe().model_copy(update={**asked, "name": recipe.name})
        differing = recipes.differences(trained, recipe)
        if differing:
            raise UserError(
                f"{self.folder}: trained with another recipe; it differs in {', '.join(differing)};"
                " train --fresh, or choose another --runs"
            )


def run_dir(runs: Path, recipe: Recipe, fold: int) -> RunDir:
    """The run of a recipe on a fold, there or not."""
    return RunDir(runs / recipe.name / f"fold-{fold}")


def finished_runs(runs: Path, recipe: Recipe, fold: int | None = None) -> list[RunDir]:
    """The finished runs of a recipe: one a fold of its fold table, or with `fold` that one alone.

    Raises:
        UserError: one is not there, pending, or trained with another recipe or on other data.
    """
    if fold is not None:
        return [_finished(run_dir(runs, recipe, fold), recipe)]
    trained = [path for path in (runs / recipe.name).glob("fold-*/metadata.json")]
    if not trained:
        raise UserError(
            f"{runs / recipe.name}: not trained; `./run.sh train --recipe {recipe.name}` comes first"
        )
    folds = RunDir(trained[0].parent).read_metadata()["folds"]
    ensemble = [_finished(run_dir(runs, recipe, number), recipe) for number in folds]
    for run in ensemble[1:]:
        if run.read_metadata()["split"] != ensemble[0].read_metadata()["split"]:
            raise UserError(
                f"{run.folder}: trained on another split than {ensemble[0].folder}; train --fresh"
            )
    return ensemble


def _finished(run: RunDir, recipe: Recipe) -> RunDir:
    if not run.finished:
        raise UserError(
            f"{run.folder}: not trained to its end; `./run.sh train --fold {run.fold}` comes first"
        )
    run.check_recipe(recipe)
    return run
