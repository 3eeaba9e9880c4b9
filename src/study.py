"""Study: several recipes on the same folds, in one table with paired differences."""

from pathlib import Path
from typing import Annotated

import typer

from carvana import console, machine
from carvana.data.dataset import check_sizes, train_samples
from carvana.data.split import Split, parse_fold
from carvana.evaluation import study as studies
from carvana.files import atomic_path


def study(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")],
    folds: Annotated[Path, typer.Option(help="A fold table: columns car,fold.")],
    study: Annotated[Path, typer.Option(help="Which recipes, and what is changed in them.")] = Path(
        "studies/post-claims.toml"
    ),
    fold: Annotated[list[str] | None, typer.Option(help="A fold; may be repeated. [default: 0]")] = None,
    runs: Annotated[
        Path, typer.Option(help="Where the runs are kept; a study that was cut off goes on.")
    ] = Path("runs/studies"),
) -> None:
    """Train the recipes of a study on the same folds, and write its table and figure beside its file.

    Example:

        ./run.sh study --data path/to/carvana --folds folds/carvana-5.csv --fold 0 --fold 1
    """
    asked = studies.read_study(study)
    recipes = {name: asked.recipe(name) for name in [asked.baseline, *asked.recipes]}
    photos = train_samples(data)
    check_sizes(photos)
    split = Split.read(photos, folds)
    numbers = [number for text in fold or ["0"] for number in _numbers(text, split)]
    an_epoch = sum(len(split.train_val(number)[0]) for number in numbers)

    from carvana.models.build import build  # late: TensorFlow takes seconds that --help need not
    from carvana.training.cross_validation import train_folds

    results, baseline = [], None
    for name, recipe in recipes.items():
        console.message(f"{name}:")
        trained = train_folds(recipe, split, numbers, runs / study.stem)
        baseline = baseline or trained
        results.append(
            studies.summarize_runs(
                name, trained, baseline, parameters=build(recipe).count_params(), photos=an_epoch
            )
        )
    console.show_table(asked.title, studies.HEADINGS, [studies.cells(result) for result in results])
    page = study.with_suffix(".md")
    with atomic_path(page.with_suffix(".png")) as part:
        studies.draw(asked, results, part)
    with atomic_path(page) as part:
        which = ("fold " if len(numbers) == 1 else "folds ") + ", ".join(map(str, numbers))
        held_out = f"{results[0].dice.photos:,} held-out photos of {which}"
        where = (
            f"{held_out} of `{split.table}`, {an_epoch:,} photos an epoch, on {machine.describe_machine()}."
        )
        part.write_text(studies.markdown(asked, results, where, page.with_suffix(".png").name))
    console.message(f"{page}: written, with its figure")


def _numbers(text: str, split: Split) -> list[int]:
    number = parse_fold(text)
    return split.numbers if number is None else [number]


if __name__ == "__main__":
    console.run(study)
