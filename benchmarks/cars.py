"""Growth of the Dice with the number of cars that a recipe is trained on.

    ./run.sh benchmark cars --data $CARVANA_DATA --cars 22 --cars 44 --cars 88

What a start from trained weights is worth on few cars is the difference to the same command with `--init`:

    ./run.sh benchmark cars --data my-cars --folds folds/my-cars-5.csv --cars 5 --cars 10 --cars 20 --init fast \
        --runs runs/cars-init

The held-out cars are those of one fold, whatever the number of training cars, so that the Dice values are comparable.
The training cars are drawn once in a random order; a smaller number takes the first of them.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from carvana import commandline, console, machine
from carvana.data.dataset import Sample, train_samples
from carvana.data.split import Split
from carvana.evaluation.scores import mean_with_ci
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir
from carvana.tables import write_csv
from carvana.training.cross_validation import train_folds
from carvana.weights import find_weights


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")],
    cars: Annotated[list[int], typer.Option(min=1, help="Number of cars to train on; may be repeated.")],
    folds: Annotated[Path, typer.Option(help="A fold table: columns car,fold.")] = Path(
        "folds/carvana-5.csv"
    ),
    fold: Annotated[int, typer.Option(help="The fold whose cars are held out.")] = 0,
    recipe: Annotated[str, typer.Option(help="The recipe to train.")] = "fast",
    init: Annotated[
        str | None,
        typer.Option(help="Start from weights (fast) or a run's folder, trained on none of these cars."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: overrides the recipe; may be repeated.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs; an interrupted one is resumed.")] = Path(
        "runs/cars"
    ),
) -> None:
    """Train a recipe on several numbers of cars and score each on the same held-out cars."""
    split, trained = Split.read(train_samples(data), folds), read_recipe(recipe, set_)
    start, rows = None if init is None else find_weights(init), []
    for number in sorted(cars):
        run = train_on(number, split, fold, trained, runs / str(number), start)
        dice = mean_with_ci(run.read_scores())
        minutes = run.read_history()["train_s"].sum() / 60
        rows.append([str(number), *dice.cells(), f"{minutes:.1f}"])
    console.show_table(
        f"{recipe}, fold {fold} held out, from {init or 'random weights'}, on {machine.describe_machine()}",
        ["cars", "Dice", "95% interval", "photos", "minutes of training"],
        rows,
        left=0,
    )


def train_on(
    number: int, split: Split, fold: int, recipe: Recipe, runs: Path, init: RunDir | None = None
) -> RunDir:
    """Train a recipe on the first `number` of the shuffled training cars; the held-out ones stay the same."""
    train, held_out = split.train_val(fold)
    order = np.random.default_rng(0).permutation(sorted({sample.car for sample in train}))
    chosen = set(order[:number])
    if len(chosen) < number:
        raise typer.BadParameter(f"{number}: only {len(chosen)} cars are not held out")
    chosen |= {sample.car for sample in held_out}
    photos = [sample for sample in split.photos if sample.car in chosen]
    part = Split.read(photos, _fold_table(photos, split, fold, runs))
    (run,) = train_folds(recipe, part, [fold], runs, init=init)
    return run


def _fold_table(photos: list[Sample], split: Split, fold: int, runs: Path) -> Path:
    """Write a fold table of the photos' cars; those to train on are in the next fold."""
    path = runs / "folds.csv"
    cars = sorted({photo.car for photo in photos})
    table = pd.DataFrame({"car": cars, "fold": [fold + (split.folds[car] != fold) for car in cars]})
    write_csv(table, path)
    return path


if __name__ == "__main__":
    commandline.run(benchmark)
