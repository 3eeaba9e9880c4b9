"""Predict the test photos: flips and folds averaged, written as a submission."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.data.folder import test_photos
from carvana.data.split import fold_number
from carvana.errors import InputError
from carvana.leaderboard.entries import entries_of, fold_path, predict_entries
from carvana.prediction.question import Question, part_of


class Tta(StrEnum):
    """Views of a photo that are averaged."""

    none = "none"
    flip = "flip"
    scales = "scales"


def predict(
    recipe: Annotated[str, typer.Option(help="A recipe of src/recipes by its name, or a TOML file.")],
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")],
    fold: Annotated[str, typer.Option(help="One fold, or `all`: the mean of their probabilities.")] = "all",
    each_fold: Annotated[
        bool, typer.Option("--each-fold", help="Also write each fold's own submission.")
    ] = False,
    tta: Annotated[
        Tta | None, typer.Option(help="Views of a photo to average. [default: the recipe's]")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Car is where the probability is above. [default: the recipe's]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The submission. [default: submissions/RECIPE[-foldK].csv.gz]")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where training wrote RUNS/RECIPE/fold-K.")] = Path("runs"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: as given to train.py; may be repeated.")
    ] = None,
) -> None:
    """Predict the test photos, and write a submission in the sample submission's order.

    Probabilities are averaged over flips and folds, upsampled to the photo's own size, and thresholded last.
    Each submission is checked, and gets a row in the ledger beside it.

    Examples:

        ./run.sh predict --recipe miniature --data data --each-fold

        ./run.sh predict --recipe fast --data $CARVANA_DATA --fold 0 --out submissions/real-fast.csv.gz
    """
    asked = [f"tta={tta.value}"] if tta else []
    asked += [f"threshold={threshold}"] if threshold is not None else []
    number = fold_number(fold)
    part = part_of(recipe, 1.0, runs, (set_ or []) + asked, number)
    question = Question((part,), part.recipe.threshold, each=each_fold and number is None)
    path = out or Path("submissions") / f"{question.name}.csv.gz"
    if number is not None and out is None:
        path = fold_path(path, number)
    if path.suffix != ".gz":
        raise InputError(f"--out {path}: a submission is gzipped; end its name in .csv.gz")
    entries = entries_of(question, path)
    checks = predict_entries(entries, test_photos(data)).checks
    rows = [
        [str(entry.path), entry.fold, f"{check.photos:,}", f"{check.empty:,}", f"{check.runs:,.1f}"]
        for entry, check in zip(entries, checks, strict=True)
    ]
    console.show_table(
        "Submissions, checked", ["file", "fold", "photos", "empty masks", "runs a mask"], rows, left=2
    )


if __name__ == "__main__":
    console.run(predict)
