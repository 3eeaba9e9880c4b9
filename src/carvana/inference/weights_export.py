"""Weights to come with the code: the networks of a run on all photos, in float16, with a description."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from carvana.errors import UserError
from carvana.files import atomic_folder, sha256_of_file
from carvana.inference.export import load_float32
from carvana.models.build import build, save
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.runs import RunDir
from carvana.weights import FoldScore, WeightsDescription, write_description


def export_weights(run: RunDir, folds: Sequence[RunDir], name: str, folder: Path) -> RunDir:
    """Write a run's networks to a folder in float16; they are loaded as networks of float32.

    Args:
        run: a finished run on all photos.
        folds: the finished runs of the recipe's folds, whose scores estimate the quality of `run`.
        name: name of the recipe.
        folder: the folder to write, which must be absent or empty.

    Returns:
        The folder as a run.

    Raises:
        UserError: a fold was held out of the run, the folder holds files, or a weight is too large for float16.
    """
    if run.holds_out:
        raise UserError(
            f"{run.folder}: weights to pass on are trained on all cars; train with --fold none first"
        )
    recipe = run.read_recipe()
    with atomic_folder(folder) as part:
        written = RunDir(part)
        save(load_float32(run.model, recipe, build), written.model, half=True)
        if recipe.refine:
            refiner = refiner_recipe(recipe)
            save(load_float32(run.refiner, refiner, build_refiner), written.refiner, half=True)
        for path in (run.recipe, run.metadata, run.training_record):
            shutil.copyfile(path, part / path.name)
        files = sorted(path for path in part.iterdir() if path.is_file())
        write_description(
            WeightsDescription(
                recipe=name,
                sha256={path.name: sha256_of_file(path) for path in files},
                out_of_fold=[_score(one) for one in folds],
            ),
            part,
        )
    return RunDir(folder)


def _score(run: RunDir) -> FoldScore:
    dice = run.read_scores()["dice"]
    return FoldScore(fold=run.fold, dice=round(float(dice.mean()), 6), photos=len(dice))
