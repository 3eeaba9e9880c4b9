"""Train one U-Net a fold, at increasing resolutions."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from carvana import console
from carvana.data.folder import check_sizes, training_photos
from carvana.data.split import Split, fold_number
from carvana.leaderboard.scoring import summary
from carvana.recipe import read_recipe


def train(
    recipe: Annotated[str, typer.Option(help="A recipe of src/recipes by its name, or a TOML file.")],
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")],
    folds: Annotated[Path, typer.Option(help="A fold table: columns car,fold.")],
    fold: Annotated[str, typer.Option(help="The fold to hold out, or `all`, one after the other.")] = "all",
    runs: Annotated[Path, typer.Option(help="Each fold is written to RUNS/RECIPE/fold-K.")] = Path("runs"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: overrides the recipe; may be repeated.")
    ] = None,
    gpus: Annotated[
        Literal["one", "all"], typer.Option(help="Share each batch among all GPUs of the machine.")
    ] = "one",
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what was trained of these folds.")] = False,
) -> None:
    """Train one U-Net a fold, at increasing resolutions.

    A run that was cut off goes on after its last finished epoch; a finished one is left alone. Each ends with
    the Dice of its held-out photos at their own size.

    Examples:

        ./run.sh train --recipe miniature --data data --folds folds/data-5.csv

        ./run.sh train --recipe baseline --data data --folds folds/data-5.csv --fold 0 --set stages.0.batch=4
    """
    chosen = read_recipe(recipe, set_)
    photos = training_photos(data)
    split = Split.read(photos, folds)
    number = fold_number(fold)
    numbers = split.numbers if number is None else [number]
    if split.absent:
        console.say(f"{folds}: {split.absent} of its cars are not in {data}; they are skipped")
    check_sizes(photos)

    from carvana.backend import AllDevices  # late: TensorFlow takes seconds that --help need not
    from carvana.training.folds import train_folds

    devices = AllDevices() if gpus == "all" else None
    if devices:
        console.say(f"devices that share each batch: {devices.count}")
    trained = train_folds(chosen, split, numbers, runs, devices=devices, fresh=fresh)
    rows = [[str(run.fold), str(run.folder), *summary(run.read_scores()).cells()] for run in trained]
    console.show_table(
        f"{chosen.name}: out-of-fold Dice", ["fold", "run", "Dice", "95% interval", "photos"], rows, left=2
    )


if __name__ == "__main__":
    console.run(train)
