"""The training of a recipe's folds, one after the other."""

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from carvana import console
from carvana.backend import AllDevices, keras
from carvana.data.split import Split
from carvana.errors import InputError
from carvana.files import write_whole
from carvana.models.run import Run, run_of
from carvana.recipe import Recipe, write_recipe
from carvana.training.fit import train_fold
from carvana.training.replay import with_replays


def train_folds(
    recipe: Recipe,
    split: Split,
    folds: Sequence[int],
    runs: Path,
    *,
    devices: AllDevices | None = None,
    fresh: bool = False,
) -> list[Run]:
    """Train a recipe on each of `folds`; what is finished is left alone, what was cut off goes on.

    Args:
        recipe: to train.
        split: the photos and their folds.
        folds: the numbers to hold out.
        runs: each fold is written to `runs/RECIPE/fold-K`.
        devices: to share each batch among; by default one.
        fresh: forget what was trained of these folds before.

    Raises:
        InputError: there is no such fold, or it was begun with another recipe or on other data. Nothing is
            trained then.
    """
    sides = {fold: split.sides(fold) for fold in folds}
    chosen = [run_of(runs, recipe, fold) for fold in folds]
    for run in chosen:
        if fresh:
            shutil.rmtree(run.folder, ignore_errors=True)
        _begin(run, recipe, split)
    for run in chosen:
        if run.finished:
            console.say(f"fold {run.fold}: trained already, in {run.folder}")
        else:
            photos, held_out = sides[run.fold]
            epoch = with_replays(photos, recipe.replay, runs) if recipe.replay else photos
            train_fold(recipe, run, epoch, held_out, devices)
    return chosen


def _begin(run: Run, recipe: Recipe, split: Split) -> None:
    """Write down what is trained on what, or make sure that it is what was begun before."""
    if run.finished or run.checkpoint.is_file():  # where nothing is trained yet, nothing can be mixed up
        run.check_recipe(recipe)
        if run.read_facts()["split"] != split.fingerprint():
            raise InputError(
                f"{run.folder}: trained on other photos or folds; train --fresh, or choose another --runs"
            )
        return
    facts = {
        "table": split.table,
        "folds": split.numbers,
        "split": split.fingerprint(),
        "backend": keras.backend.backend(),
        "keras": version("keras"),
    }
    with write_whole(run.recipe) as part:
        write_recipe(recipe, part)
    with write_whole(run.facts) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n")
