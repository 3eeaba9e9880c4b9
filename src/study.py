"""Train several recipes on the same folds, and compare them in one table with paired differences."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console
from carvana.data.folds import default_table
from carvana.data.split import Split


def study(
    data: Annotated[Path, typer.Option(help="A data folder in the competition's form.")] = Path("data"),
    folds: Annotated[
        Path | None, typer.Option(help="A fold table: columns car,fold. [default: folds/DATA-5.csv]")
    ] = None,
    study: Annotated[Path, typer.Option(help="The study's file: its recipes and their changes.")] = Path(
        "studies/post-claims.toml"
    ),
    fold: Annotated[
        list[str] | None,
        typer.Option(metavar="K|all", help="A fold to hold out, or all; may be repeated. [default: 0]"),
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Folder of the study's runs; an interrupted study is resumed from it.")
    ] = Path("runs/studies"),
) -> None:
    """Train the recipes of a study on the same folds, and write its table and figure beside its file.

    The study NAME.toml gets NAME.md and NAME.png. Other files of these names are kept, and the study is refused.

    Example:

        ./run.sh study --data path/to/carvana --folds folds/carvana-5.csv --fold 0 --fold 1
    """
    from carvana.data.dataset import check_sizes, train_samples
    from carvana.evaluation import study as studies
    from carvana.machine import describe_machine
    from carvana.models.build import load
    from carvana.training.cross_validation import train_folds

    plan = studies.read_study(study)
    studies.check_replaceable(study)
    recipes = {name: plan.recipe(name) for name in [plan.baseline, *plan.recipes]}
    photos = train_samples(data)
    check_sizes(photos)
    split = Split.read(photos, folds or default_table(data))
    numbers = split.select(fold or ["0"])
    epoch_photos = sum(len(split.train_val(number)[0]) for number in numbers)

    results: list[studies.Result] = []
    baseline = None
    for name, recipe in recipes.items():
        console.message(f"{name}:")
        trained = train_folds(recipe, split, numbers, runs / study.stem)
        baseline = baseline or trained
        parameters = sum(load(network).count_params() for network in trained[0].networks)
        results.append(studies.summarize_runs(name, trained, baseline, parameters))

    console.show_table(plan.title, studies.HEADINGS, [studies.cells(result) for result in results])
    listed = f"{'fold' if len(numbers) == 1 else 'folds'} {', '.join(map(str, numbers))}"
    setting = (
        f"{results[0].dice.photos:,} held-out photos of {listed} of `{split.table}`, "
        f"{epoch_photos:,} photos per epoch, on {describe_machine()}."
    )
    studies.write_study(plan, results, setting, study)
    console.message(f"{studies.output_files(study)[0]}: written, with its figure")


if __name__ == "__main__":
    commandline.run(study)
