"""Train one U-Net a fold, at increasing resolutions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from carvana import console
from carvana.data.dataset import check_sizes, train_samples
from carvana.data.split import Split, parse_fold
from carvana.evaluation.scores import mean_with_ci
from carvana.recipe import read_recipe
from carvana.runs import RunDir


def train(
    recipe: Annotated[
        list[str],
        typer.Option(help="A recipe of src/recipes by its name, or a TOML file; may be repeated."),
    ],
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
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Train on the workers of a Dask scheduler, a fold each at a time: tcp://HOST:8786, or local:N"
            " processes."
        ),
    ] = None,
) -> None:
    """Train one U-Net a fold, at increasing resolutions.

    A run that was cut off goes on after its last finished epoch; a finished one is left alone. Each ends with
    the Dice of its held-out photos at their own size.

    Examples:

        ./run.sh train --recipe miniature --data data --folds folds/data-5.csv

        ./run.sh train --recipe baseline --data data --folds folds/data-5.csv --fold 0 --set stages.0.batch_size=4

        ./run.sh train --recipe baseline --recipe resnet34 --data data --folds folds/data-5.csv --cluster tcp://HOST:8786
    """
    chosen = [read_recipe(name, set_) for name in recipe]
    if len({one.name for one in chosen}) < len(chosen):
        raise typer.BadParameter("--recipe: two have the same name, and would be written to the same runs")
    if cluster and gpus == "all":
        raise typer.BadParameter("--gpus all goes without --cluster, which gives each worker a fold")
    if cluster:
        data, runs = data.absolute(), runs.absolute()  # so that other machines find them
    photos = train_samples(data)
    split = Split.read(photos, folds)
    number = parse_fold(fold)
    numbers = split.numbers if number is None else [number]
    if split.absent:
        console.message(f"{folds}: {split.absent} of its cars are not in {data}; they are skipped")
    check_sizes(photos)

    from carvana.backend import AllDevices  # late: TensorFlow takes seconds that --help need not
    from carvana.training.cross_validation import TrainingJob, train_folds, train_on_cluster

    if cluster:
        from carvana.cluster.executor import dask_executor  # late: Dask is not needed without

        job = TrainingJob(data, runs, tuple(_findable(name) for name in recipe), tuple(set_ or ()))
        trained = train_on_cluster(dask_executor(cluster), job, chosen, split, numbers, fresh=fresh)
    else:
        devices = AllDevices() if gpus == "all" else None
        if devices:
            console.message(f"devices that share each batch: {devices.count}")
        trained = [
            run
            for one in chosen
            for run in train_folds(one, split, numbers, runs, devices=devices, fresh=fresh)
        ]
    _show(trained)


def _findable(recipe: str) -> str:
    """A recipe's name, or its file as other machines find it."""
    return str(Path(recipe).absolute()) if recipe.endswith(".toml") else recipe


def _show(trained: Sequence[RunDir]) -> None:
    rows = [
        [run.folder.parent.name, str(run.fold), str(run.folder), *mean_with_ci(run.read_scores()).cells()]
        for run in trained
    ]
    console.show_table(
        "Out-of-fold Dice", ["recipe", "fold", "run", "Dice", "95% interval", "photos"], rows, left=3
    )


if __name__ == "__main__":
    console.run(train)
