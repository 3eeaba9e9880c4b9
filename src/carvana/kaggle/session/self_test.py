"""Test of a notebook's libraries: one training step and one prediction of the recipe's network on real photos.

It runs in a process of its own, which frees the GPU when it ends.
"""

import math
import sys
import tempfile
from pathlib import Path

from carvana import console
from carvana.data.batches import Batches, ResizedSamples
from carvana.data.dataset import Sample, test_samples, train_samples
from carvana.errors import UserError
from carvana.inference.config import PredictionConfig, resolve_member
from carvana.inference.pipeline import predict_stream
from carvana.inference.predictors import WeightedEnsemble
from carvana.kaggle.session.settings import SETTINGS_FILE, SessionSettings
from carvana.models.build import load, save, size_spec
from carvana.recipe import Recipe, read_recipe
from carvana.training.train_step import TrainStep
from carvana.training.validation import Validator

_BATCH = 2


def check_training(recipe: Recipe, photos: list[Sample]) -> None:
    """Train a step on labelled photos, save and load the network, and predict one of the photos.

    Raises:
        UserError: the loss or the Dice is not a finite number.
    """
    stage = recipe.stages[0].model_copy(update={"batch_size": _BATCH, "accumulation_steps": 1})
    precision = "float32" if recipe.precision == "auto" else recipe.precision
    recipe = recipe.model_copy(update={"stages": (stage,), "precision": precision, "refine": None})
    samples = ResizedSamples(photos[:_BATCH], stage.size)
    batches = Batches(samples, _BATCH, size_spec(recipe), recipe.augmentation, recipe.seed)
    train_step = TrainStep(recipe)
    train_step.start_stage(stage)
    loss = train_step.step(*next(batches.epoch(0)), stage.learning_rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        save(train_step.model, path)
        dice = Validator(photos[:1], recipe).mean_dice(load(path), stage.size)
    if not (math.isfinite(loss) and 0 <= dice <= 1):
        raise UserError(f"a training step has the loss {loss}, and a prediction the Dice {dice}")
    console.message(f"self-test: one training step (loss {loss:.4f}) and one prediction: passed")


def check_prediction(settings: SessionSettings, recipe: str, photo: Sample, runs: Path) -> None:
    """Predict a photo with the networks of the session.

    Raises:
        UserError: a network cannot be loaded, or the photo not be read.
    """
    fold = None if settings.fold_argument == "all" else int(settings.fold_argument)
    config = PredictionConfig((resolve_member(recipe, 1.0, runs, list(settings.changes), fold),))
    threshold = config.effective_threshold
    list(
        predict_stream(WeightedEnsemble.load(config), [photo], lambda prediction: prediction.edges(threshold))
    )
    console.message("self-test: one prediction: passed")


def main(code: str, data: str, runs: str) -> None:
    """Run the test for a session.

    Args:
        code: the folder of the unpacked bundle.
        data: the data folder.
        runs: the folder of the networks that predict.
    """
    settings = SessionSettings.from_json((Path(code) / SETTINGS_FILE).read_text())
    argument = settings.recipe_argument
    recipe = str(Path(code) / argument) if argument.endswith(".toml") else argument
    if settings.step == "train":
        check_training(read_recipe(recipe, list(settings.changes)), train_samples(Path(data)))
    else:
        check_prediction(settings, recipe, test_samples(Path(data))[0], Path(runs))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
