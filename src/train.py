"""Train a recipe's network on one fold or on all folds of a cross-validation."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from carvana import commandline, console
from carvana.data.dataset import check_sizes, train_samples
from carvana.data.folds import default_table
from carvana.data.split import Split
from carvana.evaluation.scores import mean_with_ci
from carvana.kaggle import options
from carvana.recipe import read_recipe
from carvana.runs import RunDir, recipe_runs
from carvana.training.loggers import LoggerName, check_installed
from carvana.weights import find_weights


def train(
    recipe: Annotated[
        list[str],
        typer.Option(
            help="Name of a recipe in src/recipes, or a TOML file; may be repeated.",
            callback=commandline.not_empty,
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Data folder in the competition's form. [default: data]")
    ] = None,
    folds: Annotated[
        Path | None,
        typer.Option(
            help="Fold table with the columns car,fold. [default: folds/DATA-5.csv; with --on kaggle the project's"
            " folds/carvana-5.csv]"
        ),
    ] = None,
    fold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K|all|none",
            help="A fold to hold out, or `all`; may be repeated. `none` trains on all cars, without a score."
            " [default: all]",
        ),
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Each fold is written to RUNS/RECIPE/fold-K, and `none` to RUNS/RECIPE/all.")
    ] = Path("runs"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: overrides the recipe; may be repeated.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from weights that come with the code (fast), or from a run's folder, not from random ones.",
            callback=commandline.not_empty,
        ),
    ] = None,
    gpus: Annotated[
        Literal["one", "all"], typer.Option(help="`all` splits each batch among all GPUs of the machine.")
    ] = "one",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete what was trained of these folds before, and start again.")
    ] = False,
    logger: Annotated[
        LoggerName,
        typer.Option(
            help="`wandb` logs to Weights & Biases beside TensorBoard; install it by `pip install wandb`."
        ),
    ] = "tensorboard",
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Train on the workers of a Dask scheduler, one fold at a time on each: tls://HOST:8786, or local:N"
            " processes."
        ),
    ] = None,
    on: options.On = None,
    hours: options.Hours = None,
    detach: options.Detach = False,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    attach: options.Attach = None,
) -> None:
    """Train a recipe's network on one fold or on all folds, through the recipe's stages.

    An interrupted training resumes after its last finished epoch, and a finished one is skipped. At the end, the Dice
    of the held-out photos is computed at their own size.

    `--fold none` trains on all labelled cars, for as many epochs as the recipe names. No photos are held out, so that
    this run has no score of its own; the out-of-fold Dice of the recipe's folds is the estimate.

    Examples:

        ./run.sh train --recipe miniature

        ./run.sh train --recipe baseline --data path/to/carvana --folds folds/carvana-5.csv --fold 0 --set seed=1

        ./run.sh train --recipe baseline --recipe resnet34 --cluster tls://HOST:8786

        ./run.sh train --recipe fast --data path/to/carvana --folds folds/carvana-5.csv --fold none

        ./run.sh train --recipe fast --data my-cars --init fast

        ./run.sh train --recipe fast --data path/to/carvana --folds folds/carvana-5.csv --logger wandb

        ./run.sh train --recipe single --folds folds/carvana-5.csv --on kaggle
    """
    recipes = [read_recipe(name, set_) for name in recipe]
    if len({one.name for one in recipes}) < len(recipes):
        raise typer.BadParameter("--recipe: two have the same name, and would be written to the same runs")
    if cluster == "":
        raise typer.BadParameter("--cluster: the address is empty")
    if cluster and gpus == "all":
        raise typer.BadParameter(
            "--gpus all cannot be used with --cluster, which trains one fold on each worker"
        )
    if fold and "none" in fold and set(fold) != {"none"}:
        raise typer.BadParameter("--fold none cannot be combined with other folds")
    notebook = options.notebook_options(on, hours, detach, dry_run, offline, attach)
    if notebook:
        from carvana.kaggle.job_inputs import RecipeArgument
        from carvana.kaggle.training_job import TABLE, train_on_kaggle

        if len(recipes) > 1 or data or cluster or gpus == "all" or init:
            raise typer.BadParameter(
                "--on kaggle takes one --recipe, and none of --data, --cluster, --gpus and --init: it trains on the"
                " competition's photos, which Kaggle has"
            )
        if fold and "none" in fold:
            raise typer.BadParameter("--fold none cannot be combined with --on kaggle")
        if logger == "wandb":
            raise typer.BadParameter("--on kaggle cannot be used with --logger wandb")
        argument = RecipeArgument(recipes[0], recipe[0], tuple(set_ or ()))
        _show(train_on_kaggle(argument, folds or TABLE, fold or ["all"], runs, notebook, fresh=fresh))
        return
    check_installed(logger)
    data = data or Path("data")
    if cluster:
        data, runs = data.absolute(), runs.absolute()  # so that other machines find them
    folds = folds or default_table(data)
    samples = train_samples(data)
    split = Split.read(samples, folds)
    numbers = _folds_to_hold_out(fold or ["all"], split)
    console.message(f"{data}: {len(samples):,} photos; {_held_out(numbers, folds)}")
    if split.absent:
        console.message(f"{folds}: {split.absent} of its cars are not in {data}; they are skipped")
    check_sizes(samples)
    initial = None if init is None else find_weights(init)

    from carvana.backend import AllDevices
    from carvana.training.cross_validation import TrainingJob, train_folds, train_on_cluster

    if cluster:
        from carvana.cluster.executor import dask_executor

        job = TrainingJob(data, runs, tuple(map(_absolute, recipe)), tuple(set_ or ()))
        trained = train_on_cluster(
            dask_executor(cluster), job, recipes, split, numbers, init=initial, fresh=fresh, logger=logger
        )
    else:
        devices = AllDevices() if gpus == "all" else None
        if devices:
            console.message(f"devices that share each batch: {devices.count}")
        trained = [
            run
            for one in recipes
            for run in train_folds(
                one, split, numbers, runs, devices=devices, init=initial, fresh=fresh, logger=logger
            )
        ]
    _show(trained)


def _folds_to_hold_out(fold: list[str], split: Split) -> Sequence[int | None]:
    """Return the folds of `--fold`; `none`, which holds out no photos, is None."""
    return [None] if "none" in fold else split.select(fold)


def _held_out(numbers: Sequence[int | None], folds: Path) -> str:
    if numbers == [None]:
        return "none is held out"
    return f"{'fold' if len(numbers) == 1 else 'folds'} {', '.join(map(str, numbers))} of {folds}"


def _absolute(recipe: str) -> str:
    """Return a recipe's name, or the absolute path of its file, so that other machines find it."""
    return str(Path(recipe).absolute()) if recipe.endswith(".toml") else recipe


def _show(trained: Sequence[RunDir]) -> None:
    for run in trained:
        if not run.holds_out:
            record = run.read_training_record()
            console.message(
                f"{run.folder}: trained on all {record.cars} cars in {record.minutes:.1f} minutes. It has no score of"
                " its own, because no photos were held out; the out-of-fold Dice of"
                f" {run.folder.parent}/fold-* estimates it{_mean_of_folds(run.folder.parent)}"
            )
    rows = [
        [run.folder.parent.name, str(run.fold), str(run.folder), *mean_with_ci(run.read_scores()).cells()]
        for run in trained
        if run.holds_out
    ]
    if not rows:  # or detached from Kaggle
        return
    console.show_table(
        "Out-of-fold Dice", ["recipe", "fold", "run", "Dice", "95% interval", "photos"], rows, left=3
    )


def _mean_of_folds(folder: Path) -> str:
    """Describe the out-of-fold Dice of a recipe's finished folds; "" if there are none."""
    finished = [run for run in recipe_runs(folder) if run.finished]
    if not finished:
        return ""
    dice, interval, photos = mean_with_ci(pd.concat([run.read_scores() for run in finished])).cells()
    return f": {dice} (95% interval {interval}, {photos} photos of {len(finished)} folds)"


if __name__ == "__main__":
    commandline.run(train)
