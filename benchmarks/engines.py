"""Accuracy and speed of each engine, compared with Keras. Prediction uses only engines that this command allows.

    ./run.sh benchmark engines --recipe fast --data $CARVANA_DATA --int8

The held-out photos of each fold are predicted by each engine as training predicts them by Keras, and the Dice is
compared photo by photo. The scores are kept in the folders of the runs, where `predict --engine auto` finds them, and
so are the networks in INT8, which are calibrated on photos of other cars.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from carvana import commandline, console, machine
from carvana.data.dataset import Sample, train_samples
from carvana.data.split import parse_fold
from carvana.errors import UserError
from carvana.evaluation.engine_choice import (
    difference_from_keras,
    engines_to_compare,
    is_accurate,
    read_engine_scores,
    score_engine,
)
from carvana.evaluation.scores import difference_cells, mean_with_ci
from carvana.inference.config import KERAS, EngineConfig, EnsembleMember, resolve_member
from carvana.inference.engine_speed import photos_per_second
from carvana.runs import RunDir


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="A trained recipe, by its name or its file.")] = "fast",
    fold: Annotated[str, typer.Option(help="One fold, or `all`.")] = "all",
    runs: Annotated[Path, typer.Option(help="The folder of trained runs, RUNS/RECIPE/fold-K.")] = Path(
        "runs"
    ),
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Also quantise the networks, which needs NNCF (pip install nncf==3.4.0)."
        ),
    ] = False,
) -> None:
    """Compare the Dice and the speed of all engines of this machine with those of Keras.

    Example:

        ./run.sh benchmark engines --recipe fast --data $CARVANA_DATA --fold 0 --int8
    """
    member = resolve_member(recipe, 1.0, runs, [], parse_fold(fold))
    samples = train_samples(data)
    engines = [engine for engine in engines_to_compare() if int8 or engine.precision != "int8"]
    for run in member.runs:
        held_out = _held_out(run, samples)
        if int8:
            from carvana.training.quantization import quantize_run

            cars = {sample.car for sample in held_out}
            quantize_run(run, [sample for sample in samples if sample.car not in cars])
        for engine in engines:
            _score(run, held_out, engine)
    rows = [_row(member, engine) for engine in [KERAS, *engines]]
    keras_speed = rows[0][-1]
    console.show_table(
        f"{member.name} on {machine.describe_machine()}, {len(member.runs)} of the folds; photos/s of the"
        " networks of one fold, without decoding and masks",
        ["engine", "Dice", "minus Keras", "95% interval", "allowed", "photos/s", "times Keras"],
        [[*cells, f"{speed:,.1f}", f"{speed / keras_speed:.2f}"] for *cells, speed in rows],
    )


def _held_out(run: RunDir, samples: list[Sample]) -> list[Sample]:
    """Return the labelled photos that a run held out."""
    names = set(run.read_scores()["img"])
    found = [sample for sample in samples if sample.name in names]
    if len(found) < len(names):
        raise UserError(f"{run.folder}: held out {len(names)} photos, of which the data has {len(found)}")
    return found


def _score(run: RunDir, samples: list[Sample], engine: EngineConfig) -> None:
    if read_engine_scores(run, engine) is not None:
        console.message(f"fold {run.fold}: compared with {engine.name} already")
        return
    with console.progress(f"fold {run.fold} {engine.name}", len(samples), "photos") as advance:
        score_engine(run, samples, engine, advance)


def _row(member: EnsembleMember, engine: EngineConfig) -> tuple[str, str, str, str, str, float]:
    """Return the cells of an engine, and its photos per second."""
    scores, difference = pd.concat([run.read_scores() for run in member.runs]), None
    if engine != KERAS:
        difference = difference_from_keras(member.runs, engine)
        scores = pd.concat([read_engine_scores(run, engine) for run in member.runs])
    allowed = "yes" if is_accurate(difference, engine) else "no"
    dice = mean_with_ci(scores).dice_text()
    return engine.name, dice, *difference_cells(difference), allowed, photos_per_second(member, engine)


if __name__ == "__main__":
    commandline.run(benchmark)
