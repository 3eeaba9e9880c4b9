"""The training of one fold: stages, epochs, steps, in the open."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from carvana import console
from carvana.backend import keras
from carvana.data.batches import Batches, ResizedPhotos
from carvana.data.folder import Photo
from carvana.files import write_whole
from carvana.models.build import build, frame_of, load
from carvana.models.run import Run
from carvana.recipe import Recipe, Stage
from carvana.training import checkpoint
from carvana.training.held_out import HeldOut
from carvana.training.losses import loss_of
from carvana.training.rate import Schedule


def train_fold(recipe: Recipe, run: Run, photos: Sequence[Photo], held_out: Sequence[Photo]) -> pd.DataFrame:
    """Train a recipe on `photos`, keep the weights that do best on `held_out`, and score these.

    After each epoch the state is saved, so that a training that was killed goes on from there with the
    same call. Of the last stage's epochs the one with the best out-of-fold Dice is kept: prediction works at
    that stage's size.

    Returns:
        The out-of-fold scores, as written to `run.scores`: columns img and dice.
    """
    model = compiled(recipe)
    progress = checkpoint.restore(run.checkpoint, model)
    if progress.epoch:
        console.say(f"fold {run.fold}: goes on after epoch {progress.epoch}")
    truth = HeldOut(held_out, recipe)
    schedule = Schedule(recipe, len(photos))
    largest = ResizedPhotos(photos, max((stage.size for stage in recipe.stages), key=math.prod))
    for number, stage, first, epochs in _stages(recipe, progress.epoch):
        resized = ResizedPhotos(photos, stage.size, larger=largest) if stage.size != largest.size else largest
        batches = Batches(resized, stage.batch, frame_of(recipe), recipe.augmentation, recipe.seed)
        title = f"fold {run.fold} stage {number}/{len(recipe.stages)} {stage.size[1]}x{stage.size[0]}"
        with console.progress(title, len(epochs) * len(photos), "photos") as advance:
            for epoch in epochs:
                began = time.perf_counter()
                loss = _train_epoch(model, batches, stage, epoch, schedule, advance)
                trained = time.perf_counter()
                dice = float(truth.scores(model, stage.size, "none")["dice"].mean())
                if epoch == first or dice > progress.best:
                    progress.best = dice
                    _save_model(model, run)
                progress.epoch = epoch + 1
                progress.history.append(
                    {
                        "epoch": epoch + 1,
                        "stage": number,
                        "height": stage.size[0],
                        "width": stage.size[1],
                        "rate": float(model.optimizer.learning_rate),
                        "loss": loss,
                        "dice": dice,
                        "train_s": round(trained - began, 2),
                        "score_s": round(time.perf_counter() - trained, 2),
                    }
                )
                checkpoint.save(run.checkpoint, model, progress)
                _write_table(pd.DataFrame(progress.history), run.history)
                console.say(_epoch_line(progress.history[-1], epoch + 1 - first, stage))
    scores = truth.scores(load(run.model), recipe.size, recipe.tta)
    _write_table(scores, run.scores)
    run.checkpoint.unlink()
    return scores


def compiled(recipe: Recipe) -> keras.Model:
    """The recipe's network with its optimiser and loss, ready to train."""
    model = build(recipe)
    # XLA helps JAX, which has no other way; TensorFlow's own CPU kernels are faster without it.
    model.compile(_optimizer(recipe), loss_of(recipe.loss), jit_compile=keras.backend.backend() == "jax")
    return model


def _optimizer(recipe: Recipe) -> keras.Optimizer:
    rate = recipe.stages[0].rate
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate, global_clipnorm=recipe.clip_norm)
    return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip_norm)


def _stages(recipe: Recipe, done: int) -> Iterator[tuple[int, Stage, int, range]]:
    """The stages that are left: number from 1, stage, its first epoch, and its epochs that are left."""
    first = 0
    for number, stage in enumerate(recipe.stages, start=1):
        after = first + stage.epochs
        if done < after:
            yield number, stage, first, range(max(first, done), after)
        first = after


def _train_epoch(
    model: keras.Model,
    batches: Batches,
    stage: Stage,
    epoch: int,
    schedule: Schedule,
    advance: console.Advance,
) -> float:
    """Train one epoch, and return its mean loss."""
    before = schedule.steps_before(epoch)
    total, seen = 0.0, 0
    for step, (photos, masks) in enumerate(batches.epoch(epoch)):
        model.optimizer.learning_rate = schedule.rate(stage, epoch + step / len(batches), before + step)
        model.reset_metrics()
        total += float(model.train_on_batch(photos, masks)) * len(photos)
        seen += len(photos)
        advance(len(photos), f"loss {total / seen:.4f}")
    return total / seen


def _save_model(model: keras.Model, run: Run) -> None:
    with write_whole(run.model) as part:
        keras.saving.save_model(model, part, include_optimizer=False)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with write_whole(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def _epoch_line(row: dict, epoch: int, stage: Stage) -> str:
    size = f"{row['width']}x{row['height']}"
    took = f"{row['train_s']:.1f} s + {row['score_s']:.1f} s to score"
    return f"{size} epoch {epoch}/{stage.epochs}: loss {row['loss']:.4f}, dice {row['dice']:.5f}, {took}"
