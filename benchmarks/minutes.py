"""Dice against minutes of training, with and without refinement, drawn from the files of finished runs.

    ./run.sh study --study studies/minutes.toml --data $CARVANA_DATA --folds folds/carvana-5.csv --fold 0
    ./run.sh benchmark minutes --runs runs/studies/minutes --out studies/minutes-curve.png

A line is the Dice of held-out photos after each epoch, without test-time augmentation: until the ring of the first
network, at the size of the epoch; after it, refined, of one photo per car. The ring and the dot are the Dice of all
held-out photos, as predicted for a submission, of the first network's maps and of the refined ones. The minutes are
those of the epochs and their validation, without the cutting of patches and the last scoring.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from matplotlib.figure import Figure

from carvana import commandline, console
from carvana.errors import UserError
from carvana.evaluation import errors
from carvana.evaluation.scores import ScoreSummary, mean_with_ci
from carvana.files import atomic_path
from carvana.runs import RunDir, finished_runs_by_recipe

LOWEST_DICE = 0.985
"""Lower end of the axis: the first epochs are below it."""


def benchmark(
    runs: Annotated[Path, typer.Option(help="Folder of the runs RECIPE/fold-K.")] = Path("runs"),
    fold: Annotated[int, typer.Option(help="The fold whose runs are drawn.")] = 0,
    out: Annotated[Path, typer.Option(help="The picture, a PNG file.")] = Path("runs/minutes.png"),
) -> None:
    """Draw the Dice of all recipes in a folder of runs against the minutes of their training."""
    chosen = {
        recipe: run
        for recipe, finished in finished_runs_by_recipe(runs).items()
        for run in finished
        if run.fold == fold
    }
    if not chosen:
        raise UserError(f"{runs}: holds no finished run of fold {fold}; `./run.sh train` makes one")
    rows = [
        [recipe, network, f"{minutes:.1f}", *dice.cells()]
        for recipe, run in chosen.items()
        for network, minutes, dice in results(run)
    ]
    columns = ["recipe", "map", "minutes", "Dice", "95% interval", "photos"]
    console.show_table(f"fold {fold} held out", columns, rows, left=2)
    with atomic_path(out) as part:
        draw(chosen).savefig(part, dpi=120)
    console.message(f"{out}: written")


def results(run: RunDir) -> Iterator[tuple[str, float, ScoreSummary]]:
    """Yield each map's name, the minutes until the last epoch of its network, and its Dice."""
    minutes, table = with_minutes(run)["minutes"].tolist(), errors.read_errors(run.errors)
    refine = run.read_recipe().refine
    ends = {errors.COARSE: minutes[-1 - refine.epochs], errors.REFINED: minutes[-1]} if refine else {}
    for name, end in (ends or {errors.COARSE: minutes[-1]}).items():
        yield name, end, mean_with_ci(table[table["map"] == name])


def with_minutes(run: RunDir) -> pd.DataFrame:
    """Return a run's history with a further column: the minutes from the first step to the end of each epoch."""
    history = run.read_history()
    return history.assign(minutes=(history["train_s"] + history["validation_s"]).cumsum() / 60)


def draw(runs: dict[str, RunDir]) -> Figure:
    """Draw a line per recipe, with a ring for its first network and a dot for its refined maps."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, (recipe, run) in enumerate(runs.items()):
        colour, history = f"C{number}", with_minutes(run)
        axes.plot(history["minutes"], history["dice"], color=colour, linewidth=1, label=recipe)
        for name, end, dice in results(run):
            filled = "none" if name == errors.COARSE else colour
            axes.plot([end], [dice.dice], "o", color=colour, markerfacecolor=filled)
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 60, 180]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.set_ylim(bottom=LOWEST_DICE)
    axes.set_xlabel("minutes of training, with validation (ring: first network alone; dot: refined)")
    axes.set_ylabel("Dice of held-out photos")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    commandline.run(benchmark)
