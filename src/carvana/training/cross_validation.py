"""Training of recipes on the folds of a cross-validation: one after the other, or as tasks of a cluster."""

import json
import math
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
from carvana.training.precision import resolve_precision
from carvana.training.trainer import Trainer


@dataclass(frozen=True)
class FoldTask:
    """Training of a recipe on one fold; a task in the sense of `carvana.tasks`."""

    recipe: Recipe
    run: RunDir
    train: tuple[Sample, ...]
    """Photos to train on."""
    val: tuple[Sample, ...]
    """Photos to validate on."""

    @property
    def name(self) -> str:
        """Recipe and fold, for messages."""
        return f"{self.recipe.name} fold {self.run.fold}"

    @property
    def n_samples(self) -> int:
        """Photos to train on, summed over all epochs."""
        return sum(self._photos_per_epoch())

    def completed(self) -> int:
        """Return the photos of the finished epochs."""
        return sum(self._photos_per_epoch()[: checkpoint.finished_epochs(self.run.checkpoint)])

    def execute(self, loaded: None, reporter: console.Reporter, devices: AllDevices | None = None) -> None:
        """Train the epochs that are left, unless another process does so meanwhile.

        Args:
            loaded: nothing; the argument is part of the tasks' protocol.
            reporter: receives messages and progress.
            devices: devices that share each batch; by default one device.
        """
        with file_lock(self.run.lock, reporter):
            if not self.run.finished:
                recipe = resolve_precision(self.recipe, self.run, devices=devices, reporter=reporter)
                Trainer(recipe, self.run, self.train, self.val, devices=devices, reporter=reporter).fit()

    def _photos_per_epoch(self) -> list[int]:
        """Return the photos of each epoch over all stages; the last batch of an epoch is filled up."""
        return [
            math.ceil(len(self.train) / stage.batch_size) * stage.batch_size
            for stage in self.recipe.stages
            for _ in range(stage.epochs)
        ]


@dataclass(frozen=True)
class TrainingJob:
    """Configuration that the folds of a cluster's training share; a job as defined in `carvana.tasks`."""

    data: Path
    folder: Path
    """The folder of all runs."""
    recipes: tuple[str, ...]
    """Names or files of the recipes; files by absolute paths, so that other machines find them."""
    changes: tuple[str, ...]
    """Overrides of each recipe, as `key=value`."""
    title: str = "train"

    def fingerprint(self) -> dict[str, str]:
        """Return fingerprints of the training photos and masks, and the value of each key of the recipes."""
        facts = {f"the photos of {self.data}": fingerprint(self.data, ["train", "train_masks"])}
        for name in self.recipes:
            for key, value in read_recipe(name, list(self.changes)).model_dump(mode="json").items():
                facts[f"recipe {name}: {key}"] = str(value)
        return facts

    def load(self) -> None:
        """Load nothing: each task builds its own network."""


def train_folds(
    recipe: Recipe,
    split: Split,
    folds: Sequence[int],
    runs: Path,
    *,
    devices: AllDevices | None = None,
    fresh: bool = False,
) -> list[RunDir]:
    """Train a recipe on several folds, one after the other.

    Finished folds are skipped, and interrupted ones are resumed.

    Args:
        recipe: the recipe to train.
        split: the photos and their folds.
        folds: the folds to hold out.
        runs: each fold is written to `runs/RECIPE/fold-K`.
        devices: devices that share each batch; by default one device.
        fresh: delete what was trained of these folds before.

    Returns:
        The runs, one for each fold.

    Raises:
        UserError: there is no such fold, or it was begun with another recipe or on other data, which is found
            before any training.
    """
    for task in _pending(recipe, split, folds, runs, fresh=fresh):
        task.execute(None, console, devices)
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
    """Train each of several recipes on each of several folds, as tasks of a cluster; otherwise like `train_folds`.

    Args:
        executor: executes the tasks.
        job: what the tasks have in common.
        recipes: the recipes to train.
        split: the photos and their folds.
        folds: the folds to hold out.
        fresh: delete what was trained of these folds before.
    """
    tasks = [task for recipe in recipes for task in _pending(recipe, split, folds, job.folder, fresh=fresh)]
    if tasks:
        executor(job, tasks)
    return [run_dir(job.folder, recipe, fold) for recipe in recipes for fold in folds]


def _pending(
    recipe: Recipe, split: Split, folds: Sequence[int], runs: Path, *, fresh: bool
) -> list[FoldTask]:
    """Return tasks for the folds that are not finished, and prepare their folders."""
    samples = {fold: split.train_val(fold) for fold in folds}
    tasks = []
    for fold, (train, val) in samples.items():
        run = run_dir(runs, recipe, fold)
        with file_lock(run.lock, console):
            if fresh:
                _delete_files(run)
            _prepare(run, recipe, split)
        if run.finished:
            console.message(f"fold {fold}: trained already, in {run.folder}")
        else:
            tasks.append(FoldTask(recipe, run, tuple(train), tuple(val)))
    return tasks


def _delete_files(run: RunDir) -> None:
    for path in run.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != run.lock:
            path.unlink()


def _prepare(run: RunDir, recipe: Recipe, split: Split) -> None:
    """Write recipe and metadata of a new run, or check that an existing one has the same."""
    if (
        run.finished or run.checkpoint.is_file()
    ):  # before the first checkpoint, any recipe may replace another
        run.check_recipe(recipe)
        if run.read_metadata()["split"] != split.fingerprint():
            raise UserError(
                f"{run.folder}: trained on other photos or folds; train --fresh, or choose another --runs"
            )
        return
    metadata = {
        "table": split.table,
        "folds": split.numbers,
        "split": split.fingerprint(),
        "backend": keras.backend.backend(),
        "keras": version("keras"),
    }
    with atomic_path(run.recipe) as part:
        write_recipe(recipe, part)
    with atomic_path(run.metadata) as part:
        part.write_text(json.dumps(metadata, indent=2) + "\n")
