"""The training loop, and the training of a recipe's network in it."""

import gc
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carvana import console
from carvana.backend import AllDevices, is_out_of_memory, keras
from carvana.data.batches import Batches, ResizedSamples
from carvana.data.cache import DiskCache
from carvana.data.dataset import Sample
from carvana.data.timing import Throughput
from carvana.errors import UserError
from carvana.models.build import build, build_from, save, size_spec
from carvana.recipe import Recipe, Stage
from carvana.runs import RunDir
from carvana.tables import write_csv
from carvana.training import checkpoint
from carvana.training.loggers import Logger
from carvana.training.lr_schedule import LearningRateSchedule
from carvana.training.plots import plot_history
from carvana.training.train_step import TrainStep
from carvana.training.validation import Validator

_HISTORY_COLUMNS = (
    "epoch",
    "stage",
    "height",
    "width",
    "batch_size",
    "n_microbatches",
    "learning_rate",
    "loss",
    "dice",
    "train_s",
    "validation_s",
    "loader_per_s",
    "step_per_s",
)
"""Columns of `history.csv`, without `dice` if no photos are held out.

`_s` are seconds, `_per_s` samples per second of data loader and training step alone.
"""


class Trainer(ABC):
    """Training of one network, epoch by epoch.

    A checkpoint is saved after each epoch, and a training that was killed resumes from it. The saved network, the
    history and its plot are written from the checkpoint, after it, and once more when a training resumes. So they
    belong to the same epoch, whenever the training was killed.
    """

    keeps_best: bool
    """True to save the weights of the last stage's epoch with the best Dice, False for those of the last epoch."""
    unit = "photos"
    """What the network is trained on, for messages."""
    keys = ""
    """Prefix of the recipe's keys that change this training, for messages."""

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        n_samples: int,
        checkpoint_path: Path,
        network_path: Path,
        build: Callable[[Recipe], keras.Model],
        *,
        earlier: Sequence[dict[str, Any]] = (),
        loggers: Sequence[Logger] = (),
        devices: AllDevices | None = None,
        reporter: console.Reporter = console,
    ) -> None:
        """Build the network, and restore its checkpoint if there is one.

        Args:
            recipe: the network and its training.
            run: where all files are written.
            n_samples: samples per epoch.
            checkpoint_path: file of the checkpoint.
            network_path: file of the network.
            build: builds the network of a recipe.
            earlier: rows of the run's history of networks that were trained before.
            loggers: receive the figures and overlays of each epoch.
            devices: devices that share each batch; by default one device.
            reporter: receives messages and progress.

        Raises:
            UserError: the checkpoint is broken or of another network, or the encoder's weights cannot be loaded.
        """
        self._recipe, self._run, self._devices, self._reporter = recipe, run, devices, reporter
        self._loggers = loggers
        self._checkpoint, self._network = checkpoint_path, network_path
        self._build, self._earlier = build, list(earlier)
        self._schedule = LearningRateSchedule(recipe, n_samples)
        self._restore()

    @abstractmethod
    def _batches(self, stage: Stage) -> Batches:
        """Return the batches of a stage."""

    @abstractmethod
    def _score(self, model: keras.Model, stage: Stage) -> tuple[float | None, list[np.ndarray]]:
        """Score the network after an epoch.

        Args:
            model: the network, with averaged weights if the recipe has `ema_decay`.
            stage: the epoch's stage.

        Returns:
            The mean Dice, or None if no photos are held out, and overlays for the loggers.
        """

    @abstractmethod
    def _title(self, number: int, stage: Stage) -> str:
        """Return a stage's title for its progress bar."""

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows of the run's history so far, those of earlier networks included."""
        return self._earlier + self._progress.history

    def fit(self) -> None:
        """Train from the last finished epoch to the end.

        Raises:
            UserError: the loss is not finite, or a single sample does not fit the device's memory.
        """
        while self._progress.epoch < self._n_epochs:
            number, stage, epochs = self._current_stage()  # the same one again after an out-of-memory error
            batches, out_of_memory = self._batches(stage), False
            try:
                self._train_step.start_stage(stage)
                with self._progress_bar(number, stage, epochs, batches) as advance:
                    for epoch in range(self._progress.epoch, epochs.stop):
                        self._unfreeze_encoder_if_due(epoch, stage)
                        meter = _EpochMeter(batches.throughput)
                        for step, (photos, masks) in enumerate(batches.epoch(epoch)):
                            learning_rate = self._learning_rate(stage, epoch, step, len(batches))
                            with meter.time_step(len(photos)):
                                loss = self._train_step.step(photos, masks, learning_rate)
                            self._check_finite(loss, batches, epoch, step)
                            meter.add(loss, learning_rate)
                            advance(len(photos), f"epoch {epoch + 1}, {meter}")
                        row = self._finish_epoch(number, stage, meter, is_first=epoch == epochs.start)
                        line = _epoch_line(row, stage, epoch - epochs.start + 1)
                        self._reporter.message(f"{self._run.label}, {line}")
                plot_history(pd.DataFrame(self.history), self._run.curve)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                out_of_memory = True
            if out_of_memory:  # not within `except`, where the traceback keeps the network in memory
                self._halve_microbatch(stage)

    @property
    def _n_epochs(self) -> int:
        return sum(stage.epochs for stage in self._recipe.stages)

    def _current_stage(self) -> tuple[int, Stage, range]:
        """Return the stage of the next epoch: its number from 1, itself, and all its epochs, counted from 0."""
        stages = self._recipe.stages
        ends = accumulate(stage.epochs for stage in stages)
        return next(
            (number, stage, range(end - stage.epochs, end))
            for number, (stage, end) in enumerate(zip(stages, ends, strict=True), start=1)
            if self._progress.epoch < end
        )

    def _progress_bar(
        self, number: int, stage: Stage, epochs: range, batches: Batches
    ) -> AbstractContextManager[console.ProgressCallback]:
        """Show the progress over the stage's epochs that are left, in samples."""
        total = (epochs.stop - self._progress.epoch) * len(batches) * stage.batch_size
        return self._reporter.progress(self._title(number, stage), total, self.unit)

    def _unfreeze_encoder_if_due(self, epoch: int, stage: Stage) -> None:
        if self._train_step.frozen and epoch >= self._recipe.freeze_encoder_epochs:
            self._train_step.unfreeze_encoder()
            self._train_step.start_stage(stage)

    def _learning_rate(self, stage: Stage, epoch: int, step: int, n_steps: int) -> float:
        """Return the learning rate of a step in an epoch of `n_steps` steps."""
        steps = self._schedule.steps_before(epoch) + step
        return self._schedule.learning_rate(stage, epoch + step / n_steps, steps)

    def _check_finite(self, loss: float, batches: Batches, epoch: int, step: int) -> None:
        if math.isfinite(loss):
            return
        saved = (
            f"epoch {len(self.history)}'s weights are kept in {self._run.folder}"
            if self._progress.epoch
            else "no epoch was finished"
        )
        raise UserError(
            f"{self._run.label}: the loss is {loss} in epoch {len(self.history) + 1}, on"
            f" {', '.join(sorted(set(batches.names(epoch, step))))}; {saved}; lower {self.keys}learning_rate, or set"
            " clip_norm=1 or precision=float32, and train again with --fresh"
        )

    def _finish_epoch(
        self, number: int, stage: Stage, meter: "_EpochMeter", *, is_first: bool
    ) -> dict[str, float]:
        """Validate the network, write the epoch's files, and return its row of the history."""
        training, state, start = meter.columns(), self._train_step.state(), time.perf_counter()
        with self._train_step.ema_weights() as model:
            dice, overlays = self._score(model, stage)
            validation = {"validation_s": round(time.perf_counter() - start, 2)}
            if dice is not None:
                validation["dice"] = dice
            row = self._history_row(number, stage, training | validation)
            is_kept = is_first or dice is None or dice > self._progress.best_dice or not self.keeps_best
            if is_kept:
                self._kept = model.get_weights()
                self._progress.best_dice = self._progress.best_dice if dice is None else dice
            for logger in self._loggers:
                logger.log_epoch(row, overlays)
            self._save_checkpoint(state, row)
            if is_kept:
                save(model, self._network)
        write_csv(pd.DataFrame(self.history), self._run.history)
        return row

    def _history_row(self, number: int, stage: Stage, measures: Mapping[str, float]) -> dict[str, float]:
        columns = {
            "epoch": len(self.history) + 1,
            "stage": number + len({row["stage"] for row in self._earlier}),
            "height": stage.size[0],
            "width": stage.size[1],
            "batch_size": stage.batch_size,
            "n_microbatches": self._train_step.n_microbatches(stage),
            **measures,
        }
        return {name: columns[name] for name in _HISTORY_COLUMNS if name in columns}

    def _save_checkpoint(self, state: Sequence[np.ndarray], row: dict[str, float]) -> None:
        """Save the state after an epoch, and the history with the epoch's row."""
        self._progress.epoch += 1
        self._progress.frozen = self._train_step.frozen
        self._progress.history.append(row)
        checkpoint.save(self._checkpoint, checkpoint.Checkpoint(state, self._kept, self._progress))

    def _halve_microbatch(self, stage: Stage) -> None:
        """Return to the last checkpoint with micro-batches of half the size."""
        label, count = self._run.label, self._train_step.n_microbatches(stage)
        photos = stage.batch_size // count
        if photos % 2:
            raise UserError(
                f"{label}: {self.unit} of {_size(stage)} do not fit the device in micro-batches of {photos},"
                f" which cannot be halved; choose a smaller size or {self.keys}base_filters, or a"
                f" {self.keys}batch_size that 2 divides more often"
            )
        self._reporter.message(
            f"{label}: a micro-batch of {photos} {self.unit} of {_size(stage)} does not fit the device: training"
            f" continues with {2 * count} micro-batches of {photos // 2} per step"
        )
        del self._train_step
        gc.collect()  # frees the device's memory before the network is built anew
        self._restore(self._progress.oom_halvings + 1)

    def _restore(self, oom_halvings: int = 0) -> None:
        """Build the network, and load the checkpoint of the last finished epoch if there is one."""
        saved = checkpoint.read(self._checkpoint) if self._checkpoint.is_file() else None
        frozen = self._recipe.freeze_encoder_epochs > 0
        self._progress = saved.progress if saved else checkpoint.Progress(frozen=frozen)
        self._progress.oom_halvings = max(self._progress.oom_halvings, oom_halvings)
        self._train_step = TrainStep(self._recipe, self._progress.oom_halvings, self._devices, self._build)
        self._kept = saved.kept if saved else []
        if saved is None:
            return
        if self._train_step.frozen and not self._progress.frozen:
            self._train_step.unfreeze_encoder()
        try:
            self._train_step.load(saved.state)
            self._write_outputs()
        except ValueError as error:
            raise checkpoint.resume_error(self._checkpoint, error) from None
        if self._progress.epoch < self._n_epochs:
            self._reporter.message(f"{self._run.label}: resumes after epoch {len(self.history)}")

    def _write_outputs(self) -> None:
        """Write the files that follow from the checkpoint; a killed training may have left earlier ones."""
        with self._train_step.with_weights(self._kept) as model:
            save(model, self._network)
        history = pd.DataFrame(self.history)
        write_csv(history, self._run.history)
        plot_history(history, self._run.curve)


class NetworkTrainer(Trainer):
    """Training of a recipe's network on the photos of one fold.

    Of the last stage's epochs the one with the best validation Dice is kept, because prediction works at that stage's
    size. Without held-out photos, the last epoch is kept.
    """

    keeps_best = True

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        train: Sequence[Sample],
        validator: Validator | None,
        *,
        init: Path | None = None,
        loggers: Sequence[Logger] = (),
        devices: AllDevices | None = None,
        reporter: console.Reporter = console,
    ) -> None:
        """Initialize as `Trainer` does.

        Args:
            recipe: the recipe to train.
            run: where all files are written.
            train: photos to train on.
            validator: scores the network after each epoch; None if no photos are held out.
            init: a saved network whose weights training starts from; by default they are random.
            loggers: receive the figures and overlays of each epoch.
            devices: devices that share each batch; by default one device.
            reporter: receives messages and progress.
        """
        super().__init__(
            recipe,
            run,
            len(train),
            run.checkpoint,
            run.model,
            partial(build_from, init, build) if init else build,
            loggers=loggers,
            devices=devices,
            reporter=reporter,
        )
        self._train, self._validator = train, validator
        self._cache = DiskCache(run.folder.parent.parent / ".photos")
        largest = max((stage.size for stage in recipe.stages), key=math.prod)
        self._largest = ResizedSamples(train, largest, cache=self._cache)

    def _batches(self, stage: Stage) -> Batches:
        largest, recipe = self._largest, self._recipe
        samples = (
            largest
            if stage.size == largest.size
            else ResizedSamples(self._train, stage.size, larger=largest, cache=self._cache)
        )
        return Batches(samples, stage.batch_size, size_spec(recipe), recipe.augmentation, recipe.seed)

    def _title(self, number: int, stage: Stage) -> str:
        return f"{self._run.label} stage {number}/{len(self._recipe.stages)} {_size(stage)}"

    def _score(self, model: keras.Model, stage: Stage) -> tuple[float | None, list[np.ndarray]]:
        if self._validator is None:
            return None, []
        return self._validator.mean_dice(model, stage.size), self._validator.overlays(model, stage.size)


class _EpochMeter:
    """Mean loss, duration and speeds of one epoch's training."""

    def __init__(self, loader: Throughput) -> None:
        loader.reset()
        self._loader, self._steps = loader, Throughput(workers=1)
        self._start = time.perf_counter()
        self._losses: list[float] = []
        self._learning_rate = 0.0

    def __str__(self) -> str:
        """Format the mean loss and the speeds so far."""
        return f"loss {self._loss:.4f}, {_speeds(self.columns())}"

    def time_step(self, n_photos: int) -> AbstractContextManager[None]:
        """Measure the block as one training step."""
        return self._steps.work(n_photos)

    def add(self, loss: float, learning_rate: float) -> None:
        """Add the results of a step."""
        self._losses.append(loss)
        self._learning_rate = learning_rate

    def columns(self) -> dict[str, float]:
        """Return these columns of the history; the learning rate is that of the last step."""
        return {
            "learning_rate": self._learning_rate,
            "loss": self._loss,
            "train_s": round(time.perf_counter() - self._start, 2),
            "loader_per_s": round(self._loader.rate(), 1),
            "step_per_s": round(self._steps.rate(), 1),
        }

    @property
    def _loss(self) -> float:
        return sum(self._losses) / len(self._losses)


def _size(stage: Stage) -> str:
    return f"{stage.size[1]}x{stage.size[0]}"


def _epoch_line(row: Mapping[str, float], stage: Stage, epoch: int) -> str:
    """Format an epoch's row; `epoch` counts from 1 within the stage."""
    scores, seconds = f"loss {row['loss']:.4f}", f"{row['train_s']:.1f} s training"
    if "dice" in row:
        scores += f", dice {row['dice']:.5f}"
        seconds += f" + {row['validation_s']:.1f} s validation"
    return f"{_size(stage)} epoch {epoch}/{stage.epochs}: {scores}, {seconds}, {_speeds(row)}"


def _speeds(row: Mapping[str, float]) -> str:
    """Format the photos per second of data loader and training step, each alone; the slower one limits training."""
    return f"loader {row['loader_per_s']:,.0f}/s, step {row['step_per_s']:,.0f}/s"
