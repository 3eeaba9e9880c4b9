"""The training of recipes on folds: here, one after the other, or as pieces that a cluster does."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from carvana import console
from carvana.backend import AllDevices, keras
from carvana.data.dataset import Sample, fingerprint
from carvana.data.split import Split
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.locks import file_lock
from carvana.recipe import Recipe, read_recipe, write_recipe
from carvana.runs import RunDir, run_dir
from carvana.tasks import Executor
from carvana.training import checkpoint
from carvana.training.replay import with_replays
from carvana.training.trainer import train_fold


@dataclass(frozen=True)
class FoldTask:
    """A recipe on a fold: a piece of work, as `carvana.tasks` has it."""

    recipe: Recipe
    run: RunDir
    photos: tuple[Sample, ...]
    """An epoch's."""
    held_out: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """Recipe and fold."""
        return f"{self.recipe.name} fold {self.run.fold}"

    @property
    def n_samples(self) -> int:
        """Photos that are shown to the network, over all epochs."""
        return sum(self._epochs())

    def completed(self) -> int:
        """Those of the epochs that the checkpoint has behind it."""
        return sum(self._epochs()[: checkpoint.finished_epochs(self.run.checkpoint)])

    def execute(self, loaded: None, reporter: console.Reporter, devices: AllDevices | None = None) -> None:
        """Train what is left of it; nothing where another process finishes it meanwhile."""
        with file_lock(self.run.lock, reporter):
            if not self.run.finished:
                train_fold(self.recipe, self.run, self.photos, self.held_out, devices, reporter)

    def _epochs(self) -> list[int]:
        """The photos of each epoch: whole batches."""
        stages = self.recipe.stages
        return [
            -(-len(self.photos) // one.batch_size) * one.batch_size
            for one in stages
            for _ in range(one.epochs)
        ]


@dataclass(frozen=True)
class TrainingJob:
    """What trainings have in common, as `carvana.tasks` has it."""

    data: Path
    folder: Path
    """Of all runs."""
    recipes: tuple[str, ...]
    """By name or file."""
    changes: tuple[str, ...]
    """Of each recipe: `key=value`."""
    title: str = "train"

    def fingerprint(self) -> dict[str, str]:
        """The photos and masks, and the recipes as this process reads them."""
        seen = {f"the photos of {self.data}": fingerprint(self.data, ["train", "train_masks"])}
        for name in self.recipes:
            for key, value in read_recipe(name, list(self.changes)).model_dump(mode="json").items():
                seen[f"recipe {name}: {key}"] = str(value)
        return seen

    def load(self) -> None:
        """Nothing."""


def train_folds(
    recipe: Recipe,
    split: Split,
    folds: Sequence[int],
    runs: Path,
    *,
    devices: AllDevices | None = None,
    fresh: bool = False,
) -> list[RunDir]:
    """Train a recipe on each of `folds`; what is finished is left alone, what was cut off goes on.

    Args:
        recipe: to train.
        split: the photos and their folds.
        folds: the numbers to hold out.
        runs: each fold is written to `runs/RECIPE/fold-K`.
        devices: to share each batch among; by default one.
        fresh: forget what was trained of these folds before.

    Raises:
        UserError: there is no such fold, or it was begun with another recipe or on other data. Nothing is
            trained then.
    """
    for training in _unfinished(recipe, split, folds, runs, fresh=fresh):
        training.execute(None, console, devices)
    return [run_dir(runs, recipe, fold) for fold in folds]


def train_on_cluster(
    executor: Executor,
    job: TrainingJob,
    recipes: Sequence[Recipe],
    split: Split,
    folds: Sequence[int],
    *,
    fresh: bool = False,
) -> list[RunDir]:
    """Let an executor train each of several recipes on each of `folds`, all at once; else as `train_folds`."""
    left = [one for recipe in recipes for one in _unfinished(recipe, split, folds, job.folder, fresh=fresh)]
    if left:
        executor(job, left)
    return [run_dir(job.folder, recipe, fold) for recipe in recipes for fold in folds]


def _unfinished(
    recipe: Recipe, split: Split, folds: Sequence[int], runs: Path, *, fresh: bool
) -> list[FoldTask]:
    """The trainings that have not come to their end, all begun."""
    sides = {fold: split.train_val(fold) for fold in folds}
    left = []
    for fold, (photos, held_out) in sides.items():
        run = run_dir(runs, recipe, fold)
        with file_lock(run.lock, console):
            if fresh:
                _forget(run)
            _begin(run, recipe, split)
        if run.finished:
            console.message(f"fold {fold}: trained already, in {run.folder}")
        else:
            epoch = with_replays(photos, recipe.replay, runs) if recipe.replay else photos
            left.append(FoldTask(recipe, run, tuple(epoch), tuple(held_out)))
    return left


def _forget(run: RunDir) -> None:
    for path in run.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != run.lock:
            path.unlink()


def _begin(run: RunDir, recipe: Recipe, split: Split) -> None:
    """Write down what is trained on what, or make sure that it is what was begun before."""
    if run.finished or run.checkpoint.is_file():  # where nothing is trained yet, nothing can be mixed up
        run.check_recipe(recipe)
        if run.read_metadata()["split"] != split.fingerprint():
            raise UserError(
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
    with atomic_path(run.recipe) as part:
        write_recipe(recipe, part)
    with atomic_path(run.metadata) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n")
