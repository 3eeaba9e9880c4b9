"""Dice against minutes of training, drawn from the histories of finished runs.

    ./run.sh study --study studies/minutes.toml --data $CARVANA_DATA --folds folds/carvana-5.csv
    ./run.sh benchmark minutes --runs runs/studies/minutes --out studies/minutes-curve.png

A line is the Dice of held-out photos after each epoch, at the size of the epoch and without test-time augmentation;
in the epochs of a refinement it is that of one photo per car. A dot is the final Dice of all held-out photos at their
own size, as predicted for a submission.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from carvana import commandline, console
from carvana.errors import UserError
from carvana.evaluation.scores import mean_with_ci
from carvana.files import atomic_path
from carvana.runs import RunDir, finished_runs_by_recipe

LOWEST_DICE = 0.98
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
        [recipe, f"{minutes(run)[-1]:.1f}", *mean_with_ci(run.read_scores()).cells()]
        for recipe, run in chosen.items()
    ]
    console.show_table(
        f"fold {fold} held out", ["recipe", "minutes", "Dice", "95% interval", "photos"], rows, left=1
    )
    with atomic_path(out) as part:
        draw(chosen).savefig(part, dpi=120)
    console.message(f"{out}: written")


def minutes(run: RunDir) -> Sequence[float]:
    """Return the minutes from the first step to the end of each epoch, with validation."""
    history = run.read_history()
    return ((history["train_s"] + history["validation_s"]).cumsum() / 60).tolist()


def draw(runs: dict[str, RunDir]) -> Figure:
    """Draw a line per recipe, and a dot at the final Dice of its run."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, (recipe, run) in enumerate(runs.items()):
        colour, ends = f"C{number}", minutes(run)
        axes.plot(ends, run.read_history()["dice"], color=colour, linewidth=1.5, label=recipe)
        axes.plot(ends[-1:], [run.read_scores()["dice"].mean()], "o", color=colour)
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 60, 180]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.set_ylim(bottom=LOWEST_DICE)
    axes.set_xlabel("minutes of training, with validation")
    axes.set_ylabel("Dice of held-out photos")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    commandline.run(benchmark)
