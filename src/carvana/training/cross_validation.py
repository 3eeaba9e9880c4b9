"""Training of recipes on the folds of a cross-validation: one after the other, or as tasks of a cluster."""

import gc
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from carvana import console
from carvana.backend import AllDevices, first_gpu, keras
from carvana.data.dataset import Sample, fingerprint
from carvana.data.split import Split
from carvana.errors import UserError
from carvana.files import atomic_path, sha256_of_file
from carvana.locks import file_lock
from carvana.machine import describe_machine, git_commit
from carvana.models.build import build, build_from
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, Stage, read_recipe, write_recipe
from carvana.runs import RunDir, RunMetadata, TrainingRecord, run_dir
from carvana.tables import write_csv
from carvana.tasks import Executor
from carvana.training import checkpoint
from carvana.training.loggers import Logger, LoggerName, open_loggers
from carvana.training.memory import check_memory
from carvana.training.precision import resolve_precision
from carvana.training.refiner_trainer import RefinerTrainer
from carvana.training.trainer import NetworkTrainer
from carvana.training.validation import Validator


@dataclass(frozen=True)
class FoldTask:
    """Training of a recipe on one fold; a task in the sense of `carvana.tasks`."""

    recipe: Recipe
    run: RunDir
    train: tuple[Sample, ...]
    """Photos to train on."""
    val: tuple[Sample, ...]
    """Photos to validate on; none if no fold is held out."""
    init: RunDir | None = None
    """Networks that training starts from; by default it starts at random."""
    logger: LoggerName = "tensorboard"

    @property
    def name(self) -> str:
        """Recipe and fold, for messages."""
        return f"{self.recipe.name} {self.run.label}"

    @property
    def n_samples(self) -> int:
        """Photos and patches to train on, summed over all epochs, and the photos that patches are cut from."""
        cut_from = len(self.train) if self.recipe.refine else 0
        return sum(self._photos_per_epoch()) + cut_from + sum(self._patches_per_epoch())

    def completed(self) -> int:
        """Return the photos and patches of the finished epochs."""
        epochs = checkpoint.finished_epochs(self.run.checkpoint)
        refiner_epochs = checkpoint.finished_epochs(self.run.refiner_checkpoint)
        return sum(self._photos_per_epoch()[:epochs]) + sum(self._patches_per_epoch()[:refiner_epochs])

    def execute(self, loaded: None, reporter: console.Reporter, devices: AllDevices | None = None) -> None:
        """Train the epochs that are left, unless another process does so meanwhile.

        Args:
            loaded: nothing; the argument is part of the tasks' protocol.
            reporter: receives messages and progress.
            devices: devices that share each batch; by default one device.
        """
        with file_lock(self.run.lock, reporter):
            if not self.run.finished:
                with open_loggers(self.logger, self.run, self.recipe, reporter) as loggers:
                    self._train_and_score(loggers, reporter, devices)

    def _train_and_score(
        self, loggers: Sequence[Logger], reporter: console.Reporter, devices: AllDevices | None
    ) -> None:
        """Train the recipe's networks and score them if there are held-out photos; this marks the run as finished."""
        check_memory(self.recipe, len(self.train))
        self._record_machine_and_data()
        start, resumed = time.perf_counter(), self.completed() > 0
        run, validator = self.run, Validator(self.val, self.recipe) if self.val else None
        recipe = resolve_precision(self.recipe, run, devices=devices, reporter=reporter)
        network = NetworkTrainer(
            recipe,
            run,
            self.train,
            validator,
            init=self.init.model if self.init else None,
            loggers=loggers,
            devices=devices,
            reporter=reporter,
        )
        network.fit()
        history = network.history
        del network  # and with it the photos in memory
        gc.collect()  # and the device's memory
        if recipe.refine:
            RefinerTrainer(
                recipe,
                run,
                self.train,
                validator,
                earlier=history,
                init=self.init.refiner if self.init and self.init.refiner.is_file() else None,
                loggers=loggers,
                devices=devices,
                reporter=reporter,
            ).fit()
        if validator:
            scores, errors = validator.final_scores(run)
            write_csv(errors, run.errors)
            write_csv(scores, run.scores)  # the last file; from here on the run is finished
        else:
            record = TrainingRecord(
                photos=len(self.train),
                cars=len({sample.car for sample in self.train}),
                minutes=round((time.perf_counter() - start) / 60, 2),
                resumed=resumed,
                machine=_machine(),
                commit=git_commit(),
            )
            run.write_training_record(record)  # the last file
        _delete_checkpoints(run)

    def _record_machine_and_data(self) -> None:
        """Write into the run's metadata which machine trains it, and on how many photos and cars."""
        facts = {
            "machine": _machine(),
            "train_photos": len(self.train),
            "train_cars": len({sample.car for sample in self.train}),
        }
        self.run.write_metadata(self.run.read_metadata().model_copy(update=facts))

    def _photos_per_epoch(self) -> list[int]:
        """Return the photos of each epoch over all stages; the last batch of an epoch is filled up."""
        return [
            _filled_up(len(self.train), stage) for stage in self.recipe.stages for _ in range(stage.epochs)
        ]

    def _patches_per_epoch(self) -> list[int]:
        """Return the patches of each epoch of the refinement."""
        if self.recipe.refine is None:
            return []
        (stage,) = refiner_recipe(self.recipe).stages
        return [_filled_up(len(self.train) * self.recipe.refine.patches_per_photo, stage)] * stage.epochs


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


def _machine() -> str:
    """Describe the machine of this process: its GPU, if the network is trained on one, and its processor."""
    gpu = first_gpu()
    return f"{gpu.name}, {describe_machine()}" if gpu else describe_machine()


def _filled_up(n_samples: int, stage: Stage) -> int:
    """Return the samples of an epoch, whose last batch is filled up."""
    return math.ceil(n_samples / stage.batch_size) * stage.batch_size


def train_folds(
    recipe: Recipe,
    split: Split,
    folds: Sequence[int | None],
    runs: Path,
    *,
    devices: AllDevices | None = None,
    init: RunDir | None = None,
    fresh: bool = False,
    logger: LoggerName = "tensorboard",
) -> list[RunDir]:
    """Train a recipe on several folds, one after the other.

    Finished folds are skipped, and interrupted ones are resumed.

    Args:
        recipe: the recipe to train.
        split: the photos and their folds.
        folds: the folds to hold out, and None to hold out none.
        runs: each fold is written to `runs/RECIPE/fold-K`, and None to `runs/RECIPE/all`.
        devices: devices that share each batch; by default one device.
        init: networks that training starts from; by default it starts at random.
        fresh: delete what was trained of these folds before.
        logger: receives the figures of each epoch.

    Returns:
        The runs, one for each fold.

    Raises:
        UserError: there is no such fold, or it was begun with another recipe or on other data, which is found
            before any training.
    """
    for task in _pending(recipe, split, folds, runs, init, fresh=fresh, logger=logger):
        task.execute(None, console, devices)
    return [run_dir(runs, recipe, fold) for fold in folds]


def train_on_cluster(
    executor: Executor,
    job: TrainingJob,
    recipes: Sequence[Recipe],
    split: Split,
    folds: Sequence[int | None],
    *,
    init: RunDir | None = None,
    fresh: bool = False,
    logger: LoggerName = "tensorboard",
) -> list[RunDir]:
    """Train each of several recipes on each of several folds, as tasks of a cluster; otherwise like `train_folds`.

    Args:
        executor: executes the tasks.
        job: what the tasks have in common.
        recipes: the recipes to train.
        split: the photos and their folds.
        folds: the folds to hold out, and None to hold out none.
        init: networks that training starts from; by default it starts at random.
        fresh: delete what was trained of these folds before.
        logger: receives the figures of each epoch.
    """
    tasks = [
        task
        for recipe in recipes
        for task in _pending(recipe, split, folds, job.folder, init, fresh=fresh, logger=logger)
    ]
    if tasks:
        executor(job, tasks)
    return [run_dir(job.folder, recipe, fold) for recipe in recipes for fold in folds]


def _pending(
    recipe: Recipe,
    split: Split,
    folds: Sequence[int | None],
    runs: Path,
    init: RunDir | None,
    *,
    fresh: bool,
    logger: LoggerName,
) -> list[FoldTask]:
    """Return tasks for the folds that are not finished, and begin their runs."""
    if init:
        _check_fits(init, recipe)
    digests = {path.name: sha256_of_file(path) for path in init.networks} if init else None
    samples = {fold: split.train_val(fold) for fold in folds}
    fingerprint = split.fingerprint()
    tasks = []
    for fold, (train, val) in samples.items():
        run = run_dir(runs, recipe, fold)
        with file_lock(run.lock, console):
            if fresh:
                _delete_files(run)
            if run.finished or run.checkpoint.is_file():
                _check_same(run, recipe, split, fingerprint, digests)
            else:  # before the first checkpoint, any recipe may replace another
                _begin(run, recipe, split, fingerprint, digests)
            if run.finished:
                _delete_checkpoints(run)  # left by a training that was killed at its very end
        if run.finished:
            console.message(f"{run.label}: trained already, in {run.folder}")
        else:
            tasks.append(FoldTask(recipe, run, tuple(train), tuple(val), init, logger))
    return tasks


def _delete_checkpoints(run: RunDir) -> None:
    run.checkpoint.unlink(missing_ok=True)
    run.refiner_checkpoint.unlink(missing_ok=True)


def _delete_files(run: RunDir) -> None:
    """Delete all files of a run, first those by which it would be finished, or be resumed, if this is interrupted."""
    for path in (run.scores, run.training_record):
        path.unlink(missing_ok=True)
    _delete_checkpoints(run)
    for path in run.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != run.lock:
            path.unlink()


def _check_fits(init: RunDir, recipe: Recipe) -> None:
    """Raise UserError if networks to start from have other layers than those of a recipe."""
    in_float32 = recipe.model_copy(update={"precision": "float32"})  # `auto` is resolved later
    build_from(init.model, build, in_float32)
    if recipe.refine and init.refiner.is_file():
        build_from(init.refiner, build_refiner, refiner_recipe(in_float32))


def _check_same(
    run: RunDir, recipe: Recipe, split: Split, fingerprint: str, init: dict[str, str] | None
) -> None:
    """Raise UserError if a run was begun with another recipe, on other photos, or from other networks."""
    run.check_recipe(recipe)
    if run.read_metadata().init != init:
        raise UserError(
            f"{run.folder}: trained from other initial weights; train --fresh, or choose another --runs"
        )
    if run.read_metadata().split != fingerprint:
        photos = split.photos[0].path.parent
        raise UserError(
            f"{run.folder}: trained on other photos, masks or folds than {photos}, {photos}_masks and the fold table"
            f" {split.table}; train again with --fresh, or choose another --runs"
        )


def _begin(run: RunDir, recipe: Recipe, split: Split, fingerprint: str, init: dict[str, str] | None) -> None:
    """Write recipe and metadata of a run, and delete what an interrupted one of another recipe may have left."""
    for logs in (run.tensorboard, run.wandb):
        shutil.rmtree(logs, ignore_errors=True)
    for path in (run.refiner_checkpoint, *run.networks):
        path.unlink(missing_ok=True)
    with atomic_path(run.recipe) as part:
        write_recipe(recipe, part)
    run.write_metadata(
        RunMetadata(
            table=split.table,
            folds=split.numbers,
            split=fingerprint,
            backend=keras.backend.backend(),
            keras=version("keras"),
            init=init,
        )
    )
