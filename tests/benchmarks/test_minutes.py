"""The figure of Dice against minutes, from the files of finished runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import minutes
from benchmarks.minutes import Curve

from carvana.evaluation import errors
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import RunDir
from carvana.tables import write_csv

PHOTO = "0cdf5b5d0ce1_01.jpg"


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
    curve = Curve.read(_finished_run(tmp_path / "fast" / "fold-0"))
    assert curve.minutes == [2, 4, 6, 8, 10]
    coarse, refined = curve.results
    assert (coarse.map, coarse.minutes, coarse.dice.dice) == ("coarse", 4, pytest.approx(0.99))
    assert (refined.map, refined.minutes, refined.dice.dice) == ("refined", 10, pytest.approx(0.995))


def test_recipe_without_refinement_has_one_result(tmp_path: Path) -> None:
    (alone,) = Curve.read(_finished_run(tmp_path / "alone" / "fold-0", "refine=none")).results
    assert (alone.map, alone.minutes) == ("coarse", 4)


def test_recipes_of_one_fold_are_drawn(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for recipe, fold in (("fast", 0), ("hour", 0), ("other", 1)):
        _finished_run(runs / recipe / f"fold-{fold}")
    minutes.benchmark(runs=runs, fold=0, out=tmp_path / "minutes.png")
    assert (tmp_path / "minutes.png").read_bytes().startswith(b"\x89PNG")
    figure = minutes.draw({"fast": Curve.read(RunDir(runs / "fast" / "fold-0"))})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["fast"]
    first, refined = axes.lines[:2]
    assert (list(first.get_xdata()), first.get_linestyle()) == ([2, 4], "-")
    assert (list(refined.get_xdata()), refined.get_linestyle()) == ([4, 6, 8, 10], ":")
