"""Dice against minutes of training, with and without refinement, drawn from the files of finished runs.

    ./run.sh study --study studies/minutes.toml --data $CARVANA_DATA --folds folds/carvana-5.csv --fold 0
    ./run.sh benchmark minutes --runs runs/studies/minutes --out studies/minutes-curve.png

A line is the Dice of held-out photos after each epoch, without test-time augmentation: until the ring of the first
network; after it, dotted, of the refined maps of one photo per car. The ring and the dot are the Dice of all
held-out photos, as predicted for a submission, of the first network's maps and of the refined ones. The minutes are
those of the epochs and their validation, without the cutting of patches and the last scoring.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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


@dataclass(frozen=True)
class Result:
    """The Dice of one of a run's maps."""

    map: str
    """`errors.COARSE` or `errors.REFINED`."""
    minutes: float
    """Minutes from the first step to the last epoch of the map's network."""
    dice: ScoreSummary


@dataclass(frozen=True)
class Curve:
    """What the minutes of a run brought."""

    minutes: list[float]
    """Minutes from the first step to the end of each epoch, with validation."""
    dice: list[float]
    """Dice after each epoch."""
    results: list[Result]
    """Of the first network alone and, if the recipe refines, of both networks."""

    @classmethod
    def read(cls, run: RunDir) -> "Curve":
        """Read a finished run."""
        history, table, refine = run.read_history(), errors.read_errors(run.errors), run.read_recipe().refine
        minutes = ((history["train_s"] + history["validation_s"]).cumsum() / 60).tolist()
        epochs = {errors.COARSE: len(minutes) - (refine.epochs if refine else 0)}
        if refine:
            epochs[errors.REFINED] = len(minutes)
        results = [
            Result(name, minutes[last - 1], mean_with_ci(table[table["map"] == name]))
            for name, last in epochs.items()
        ]
        return cls(minutes, history["dice"].tolist(), results)


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
    curves = {recipe: Curve.read(run) for recipe, run in chosen.items()}
    rows = [
        [recipe, result.map, f"{result.minutes:.1f}", *result.dice.cells()]
        for recipe, curve in curves.items()
        for result in curve.results
    ]
    columns = ["recipe", "map", "minutes", "Dice", "95% interval", "photos"]
    console.show_table(f"fold {fold} held out", columns, rows, left=2)
    with atomic_path(out) as part:
        draw(curves).savefig(part, dpi=120)
    console.message(f"{out}: written")


def draw(curves: dict[str, Curve]) -> Figure:
    """Draw a line per recipe: a ring for its first network, and dotted from there to a dot for its refined maps."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, (recipe, curve) in enumerate(curves.items()):
        colour = f"C{number}"
        ring = curve.minutes.index(curve.results[0].minutes)
        axes.plot(curve.minutes[: ring + 1], curve.dice[: ring + 1], color=colour, linewidth=1, label=recipe)
        axes.plot(curve.minutes[ring:], curve.dice[ring:], ":", color=colour, linewidth=1)
        for result in curve.results:
            filled = "none" if result.map == errors.COARSE else colour
            axes.plot([result.minutes], [result.dice.dice], "o", color=colour, markerfacecolor=filled)
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 60, 180]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.set_ylim(bottom=LOWEST_DICE)
    axes.set_xlabel(
        "minutes of training, with validation (ring: first network; dot: refined; dotted: one photo a car)"
    )
    axes.set_ylabel("Dice of held-out photos")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    commandline.run(benchmark)
