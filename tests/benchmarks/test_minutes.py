"""The figure of Dice against minutes, from the files of finished runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import minutes

from carvana.evaluation import errors
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import RunDir
from carvana.tables import write_csv

PHOTO = "0cdf5b5d0ce1_01.jpg"
MINUTES_PER_EPOCH = 2


def _finished_run(folder: Path, *changes: str) -> RunDir:
    run = RunDir(folder)
    recipe = read_recipe("fast", ["stages.0.epochs=1", "stages.1.epochs=1", "refine.epochs=3", *changes])
    epochs = 5 if recipe.refine else 2
    history = {"epoch": range(1, epochs + 1), "stage": 1, "height": 32, "width": 48, "learning_rate": 0.1}
    history |= {"loss": 0.5, "dice": 0.99, "train_s": 90, "validation_s": 30}
    write_csv(pd.DataFrame(history), run.history)
    write_recipe(recipe, run.recipe)
    counts = np.zeros(len(errors.COUNT_COLUMNS), int)
    dice = {errors.COARSE: 0.99, errors.REFINED: 0.995} if recipe.refine else {errors.COARSE: 0.99}
    write_csv(errors.error_table((PHOTO, name, value, counts) for name, value in dice.items()), run.errors)
    write_csv(pd.DataFrame({"img": [PHOTO], "dice": 0.99}), run.scores)
    return run


def test_first_network_and_refinement_each_have_their_minutes_and_dice(tmp_path: Path) -> None:
    coarse, refined = minutes.results(_finished_run(tmp_path / "fast" / "fold-0"))
    assert (coarse[0], coarse[1], coarse[2].dice) == ("coarse", 2 * MINUTES_PER_EPOCH, pytest.approx(0.99))
    assert (refined[0], refined[1], refined[2].dice) == (
        "refined",
        5 * MINUTES_PER_EPOCH,
        pytest.approx(0.995),
    )


def test_recipe_without_refinement_has_one_result(tmp_path: Path) -> None:
    (alone,) = minutes.results(_finished_run(tmp_path / "alone" / "fold-0", "refine=none"))
    assert alone[:2] == ("coarse", 2 * MINUTES_PER_EPOCH)


def test_recipes_of_one_fold_are_drawn(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for recipe, fold in (("fast", 0), ("hour", 0), ("other", 1)):
        _finished_run(runs / recipe / f"fold-{fold}")
    minutes.benchmark(runs=runs, fold=0, out=tmp_path / "minutes.png")
    assert (tmp_path / "minutes.png").read_bytes().startswith(b"\x89PNG")
    figure = minutes.draw({"fast": RunDir(runs / "fast" / "fold-0")})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["fast"]
