"""The figure of Dice against minutes, from the files of finished runs."""

from pathlib import Path

import pandas as pd
from benchmarks import minutes

from carvana.runs import RunDir
from carvana.tables import write_csv

CAR = "0cdf5b5d0ce1"


def _finished_run(folder: Path, dice: float) -> RunDir:
    run = RunDir(folder)
    history = {"epoch": [1, 2], "stage": 1, "height": 32, "width": 48, "learning_rate": 0.1, "loss": 0.5}
    history |= {"dice": [0.5, dice], "train_s": 90, "validation_s": 30}
    write_csv(pd.DataFrame(history), run.history)
    write_csv(pd.DataFrame({"img": [f"{CAR}_01.jpg"], "dice": dice}), run.scores)
    return run


def test_minutes_count_training_and_validation(tmp_path: Path) -> None:
    assert minutes.minutes(_finished_run(tmp_path / "fast" / "fold-0", 0.9)) == [2.0, 4.0]


def test_recipes_of_one_fold_are_drawn(tmp_path: Path) -> None:
    for recipe, fold in (("fast", 0), ("hour", 0), ("night", 1)):
        _finished_run(tmp_path / "runs" / recipe / f"fold-{fold}", 0.99)
    minutes.benchmark(runs=tmp_path / "runs", fold=0, out=tmp_path / "minutes.png")
    assert (tmp_path / "minutes.png").read_bytes().startswith(b"\x89PNG")
    figure = minutes.draw({"fast": RunDir(tmp_path / "runs" / "fast" / "fold-0")})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["fast"]
