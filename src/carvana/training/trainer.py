"""The training of one fold: stages, epochs, steps, in the open."""

import gc
import math
import time
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from carvana import console
from carvana.backend import AllDevices, is_out_of_memory, keras
from carvana.data.batches import Batches, ResizedSamples
from carvana.data.cache import DiskCache
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.models.build import load, size_spec
from carvana.recipe import Recipe, Stage
from carvana.runs import RunDir
from carvana.tables import write_csv
from carvana.training import checkpoint
from carvana.training.lr_schedule import LearningRateSchedule
from carvana.training.plots import plot_history
from carvana.training.tensorboard import Log
from carvana.training.train_step import TrainStep
from carvana.training.validation import Validator


def train_fold(
    recipe: Recipe,
    run: RunDir,
    photos: Sequence[Sample],
    held_out: Sequence[Sample],
    devices: AllDevices | None = None,
    reporter: console.Reporter = console,
) -> pd.DataFrame:
    """Train a recipe on `photos`, keep the weights that do best on `held_out`, and score these.

    After each epoch the state is saved, so that a training that was killed goes on from there with the
    same call. Of the last stage's epochs the one with the best out-of-fold Dice is kept: prediction works at
    that stage's size. A part of a batch that does not fit the device is halved, and the training goes on.

    Args:
        recipe: to train.
        run: where all is written.
        photos: an epoch's; one that is in it twice is shown twice.
        held_out: scored after each epoch.
        devices: to share each batch among; by default one.
        reporter: where to say how far it is.

    Returns:
        The out-of-fold scores, as written to `run.scores`: columns img and dice.

    Raises:
        UserError: the loss is not finite, or not even one photo at a time fits the device.
    """
    truth = Validator(held_out, recipe)
    oom_halvings = None
    while (
        oom_halvings := _train(_Training(recipe, run, photos, truth, devices, reporter, oom_halvings))
    ) is not None:
        gc.collect()  # the network that did not fit
    scores = truth.scores(load(run.model), recipe.size, recipe.tta)
    write_csv(scores, run.scores)
    run.checkpoint.unlink()
    return scores


def _train(training: "_Training") -> int | None:
    """Train to the end: None; or until a part of a batch does not fit, and then how often to halve it."""
    try:
        for stage in training.stages_left():
            training.train_stage(*stage)
        return None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return training.halve()
    finally:
        training.close()


class _Training:
    """A fold's training from its last finished epoch on."""

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        photos: Sequence[Sample],
        truth: Validator,
        devices: AllDevices | None,
        reporter: console.Reporter,
        oom_halvings: int | None,
    ) -> None:
        self._recipe, self._run, self._photos, self._truth, self._reporter = (
            recipe,
            run,
            photos,
            truth,
            reporter,
        )
        state, self._progress = [], checkpoint.Progress(frozen=recipe.freeze_encoder_epochs > 0)
        if run.checkpoint.is_file():
            state, self._progress = checkpoint.read(run.checkpoint)
        if oom_halvings is not None:
            self._progress.oom_halvings = oom_halvings
        self._step = TrainStep(recipe, self._progress.oom_halvings, devices)
        if state:
            self._resume(state)
        self._stage = recipe.stages[0]
        self._schedule = LearningRateSchedule(recipe, len(photos))
        largest = max((stage.size for stage in recipe.stages), key=math.prod)
        self._cache = DiskCache(run.folder.parent.parent / ".photos")
        self._largest = ResizedSamples(photos, largest, cache=self._cache)
        self._log = Log(run.tensorboard)

    def stages_left(self) -> Iterator[tuple[int, Stage, int, range]]:
        """The stages that are left: number from 1, stage, its first epoch, and its epochs that are left."""
        first, done = 0, self._progress.epoch
        for number, stage in enumerate(self._recipe.stages, start=1):
            after = first + stage.epochs
            if done < after:
                yield number, stage, first, range(max(first, done), after)
            first = after

    def train_stage(self, number: int, stage: Stage, first: int, epochs: range) -> None:
        """Train the epochs that are left of a stage."""
        self._stage = stage
        self._step.start_stage(stage)
        batches = self._batches(stage)
        title = f"fold {self._run.fold} stage {number}/{len(self._recipe.stages)} {_size(stage)}"
        with self._reporter.progress(
            title, len(epochs) * len(batches) * stage.batch_size, "photos"
        ) as advance:
            for epoch in epochs:
                if self._step.frozen and epoch >= self._recipe.freeze_encoder_epochs:
                    self._step.unfreeze()
                    self._step.start_stage(stage)
                trained = self._train_epoch(batches, epoch, advance)
                self._end_epoch(number, epoch, epoch == first, trained)
        plot_history(pd.DataFrame(self._progress.history), self._run.curve)

    def halve(self) -> int:
        """How often to halve a batch's parts now that one did not fit; say so."""
        parts = self._step.n_microbatches(self._stage)
        size, photos = _size(self._stage), self._stage.batch_size // parts
        if photos % 2:
            raise UserError(
                f"fold {self._run.fold}: {photos} photo(s) of {size} at once do not fit the device, and cannot be"
                " halved; choose a smaller size or width, or a batch that 2 divides more often"
            )
        self._reporter.message(
            f"{photos} photos of {size} do not fit the device: goes on with {photos // 2} at once,"
            f" {2 * parts} times a step"
        )
        return self._progress.oom_halvings + 1

    def close(self) -> None:
        """Let go of files."""
        self._log.close()

    def _resume(self, state: list) -> None:
        if self._step.frozen and not self._progress.frozen:
            self._step.unfreeze()
        try:
            self._step.load(state)
        except ValueError as error:
            raise checkpoint.unusable(self._run.checkpoint, error) from None
        self._reporter.message(f"fold {self._run.fold}: goes on after epoch {self._progress.epoch}")

    def _batches(self, stage: Stage) -> Batches:
        largest, recipe = self._largest, self._recipe
        at_size = stage.size == largest.size
        photos = (
            largest
            if at_size
            else ResizedSamples(self._photos, stage.size, larger=largest, cache=self._cache)
        )
        return Batches(photos, stage.batch_size, size_spec(recipe), recipe.augmentation, recipe.seed)

    def _train_epoch(
        self, batches: Batches, epoch: int, advance: console.ProgressCallback
    ) -> dict[str, float]:
        """Train one epoch: its mean loss, its seconds, and the photos a second of loader and step alone."""
        before, began = self._schedule.steps_before(epoch), time.perf_counter()
        total = stepping = 0.0
        batches.throughput.reset()
        for step, (photos, masks) in enumerate(batches.epoch(epoch)):
            rate = self._schedule.rate(self._stage, epoch + step / len(batches), before + step)
            stepped = time.perf_counter()
            loss = self._step.step(photos, masks, rate)
            stepping += time.perf_counter() - stepped
            if not math.isfinite(loss):
                raise self._not_finite(loss, epoch, batches.names(epoch, step))
            total += loss
            seen = (step + 1) * len(photos)
            speeds = {"loader_per_s": batches.throughput.rate(), "step_per_s": seen / stepping}
            advance(len(photos), f"epoch {epoch + 1}, loss {total / (step + 1):.4f}, {_speeds(speeds)}")
        return {"rate": rate, "loss": total / len(batches), "train_s": time.perf_counter() - began, **speeds}

    def _end_epoch(self, number: int, epoch: int, is_first: bool, trained: dict[str, float]) -> None:
        """Score the network, keep it if it is the stage's best, and save the state."""
        began, progress, stage = time.perf_counter(), self._progress, self._stage
        with self._step.ema_weights() as model:
            dice = float(self._truth.scores(model, stage.size, "none")["dice"].mean())
            if is_first or dice > progress.best:
                progress.best = dice
                _save_model(model, self._run)
            overlays = self._truth.overlays(model, stage.size)
        progress.epoch, progress.frozen = epoch + 1, self._step.frozen
        row = {
            "epoch": epoch + 1,
            "stage": number,
            "height": stage.size[0],
            "width": stage.size[1],
            "batch": stage.batch_size,
            "accumulate": self._step.n_microbatches(stage),
            "rate": trained["rate"],
            "loss": trained["loss"],
            "dice": dice,
            "train_s": round(trained["train_s"], 2),
            "score_s": round(time.perf_counter() - began, 2),
            "loader_per_s": round(trained["loader_per_s"], 1),
            "step_per_s": round(trained["step_per_s"], 1),
        }
        progress.history.append(row)
        checkpoint.save(self._run.checkpoint, self._step.state(), progress)
        write_csv(pd.DataFrame(progress.history), self._run.history)
        self._log.epoch(row, overlays)
        self._reporter.message(
            _epoch_line(row, stage, sum(one["stage"] == number for one in progress.history))
        )

    def _not_finite(self, loss: float, epoch: int, names: Sequence[str]) -> UserError:
        kept = (
            f"epoch {self._progress.epoch}'s weights are kept in {self._run.folder}"
            if self._progress.epoch
            else "no epoch was finished"
        )
        return UserError(
            f"fold {self._run.fold}: the loss is {loss} in epoch {epoch + 1}, on {', '.join(names)}; {kept};"
            " lower the rate, or set clip_norm=1 or precision=float32, and train --fresh"
        )


def _save_model(model: keras.Model, run: RunDir) -> None:
    with atomic_path(run.model) as part:
        keras.saving.save_model(model, part, include_optimizer=False)


def _size(stage: Stage) -> str:
    return f"{stage.size[1]}x{stage.size[0]}"


def _epoch_line(row: dict, stage: Stage, epoch: int) -> str:
    took = f"{row['train_s']:.1f} s + {row['score_s']:.1f} s to score"
    learnt = f"loss {row['loss']:.4f}, dice {row['dice']:.5f}"
    return f"{_size(stage)} epoch {epoch}/{stage.epochs}: {learnt}, {took}, {_speeds(row)}"


def _speeds(row: Mapping[str, float]) -> str:
    """How fast loader and network are alone: the slower one decides."""
    return f"loader {row['loader_per_s']:,.0f}/s, step {row['step_per_s']:,.0f}/s"
