"""Check a submission, submit it to a board, and write its scores into the ledger."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console
from carvana.arguments import command
from carvana.data.folds import parse_fold_number
from carvana.errors import UserError
from carvana.recipe import is_recipe_name
from carvana.runs import prediction_command
from carvana.submission.ledger import Ledger


class Board(StrEnum):
    """A board that scores submissions."""

    kaggle = "kaggle"
    local = "local"


def submit(
    submission: Annotated[
        Path | None, typer.Argument(help="The submission. [default: the newest of all folds]")
    ] = None,
    each_fold: Annotated[
        bool, typer.Option("--each-fold", help="Also submit each fold's submission beside it.")
    ] = False,
    board: Annotated[
        Board | None,
        typer.Option(
            help="kaggle, or local: against DATA/test_masks.csv. [default: local where that file exists]"
        ),
    ] = None,
    data: Annotated[Path, typer.Option(help="The data folder with the test photos.")] = Path("data"),
    message: Annotated[
        str | None, typer.Option(help="Kaggle: the submission's message. [default: recipe, fold and CV]")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Kaggle: also submit a file that was submitted before.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=10_000, help="Kaggle: minutes to wait for the scores.")
    ] = 10,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the submission, print the board, and end.")
    ] = False,
) -> None:
    """Check a submission, submit it to a board, and write its scores into the ledger beside it.

    Kaggle needs a token of https://www.kaggle.com/settings/api in KAGGLE_API_TOKEN, or any other credentials that
    Kaggle's own client knows. A file is submitted there only once: the ledger holds its SHA-256.

    Examples:

        ./run.sh submit submissions/miniature.csv.gz

        ./run.sh submit --each-fold --data data --board local

        ./run.sh submit submissions/fast.csv.gz --each-fold --board kaggle --data path/to/carvana
    """
    from carvana.kaggle import upload
    from carvana.submission import comparison
    from carvana.submission.csv_file import check_submission
    from carvana.submission.local_board import submit_to_local_board

    if math.isnan(wait):  # it is in every range
        raise typer.BadParameter("--wait nan: expected a number of minutes")
    submission = submission or _newest_ensemble(Ledger(Path("submissions/ledger.csv")), data)
    paths = [*_fold_submissions(submission, data), submission] if each_fold else [submission]
    board = board or (Board.local if (data / "test_masks.csv").is_file() else Board.kaggle)
    Ledger.beside(submission).rows()  # a malformed ledger ends the command before anything is submitted
    sizes = _photo_sizes(data, board)
    for path in paths:
        check = check_submission(path, sizes)
        if dry_run:
            console.message(f"{path}: in order, {check.photos:,} photos; would go to the {board} board")
    if dry_run:
        return
    if board == Board.local:
        rows = [submit_to_local_board(path, data / "test_masks.csv") for path in paths]
    else:
        rows = upload.submit(paths, message=message, again=again, wait_s=60 * wait)
    console.show_table(f"Scored by the {board} board", comparison.HEADINGS, comparison.table(rows), left=2)


def _photo_sizes(data: Path, board: Board) -> dict[str, tuple[int, int]]:
    """Return the (height, width) of each test photo; for Kaggle's the photos themselves are not needed."""
    from carvana.competition import SIZE
    from carvana.data.dataset import submission_order, test_samples
    from carvana.submission.csv_file import photo_sizes

    if board == Board.kaggle:
        return dict.fromkeys(submission_order(data), SIZE)
    return photo_sizes(test_samples(data))


def _newest_ensemble(ledger: Ledger, data: Path) -> Path:
    ensembles = [row["submission"] for row in ledger.rows() if row["fold"] == "all"]
    if not ensembles:
        writes_one = f"{prediction_command(Path('runs'), data, all_folds=True)} writes one"
        raise UserError(f"{ledger.path}: has no submission of all folds yet; {writes_one}")
    return ledger.path.parent / ensembles[-1]


def _fold_submissions(submission: Path, data: Path) -> list[Path]:
    """List the submissions of single folds beside an ensemble's."""
    from carvana.submission.csv_file import fold_path

    rows = Ledger.beside(submission).rows()
    numbers = {parse_fold_number(row["fold"]) for row in rows}
    folds = sorted(number for number in numbers if number is not None)
    known = {row["submission"] for row in rows}
    paths = [path for path in (fold_path(submission, fold) for fold in folds) if path.name in known]
    if not paths:
        recipe = next((row["recipe"] for row in rows if row["submission"] == submission.name), "")
        predict = "predict with --each-fold"
        if recipe and is_recipe_name(recipe):
            predict = command(
                "predict", "--recipe", recipe, "--data", data, "--each-fold", "--out", submission
            )
        raise UserError(f"{submission}: has no folds' submissions beside it; {predict} writes them")
    return paths


if __name__ == "__main__":
    commandline.run(submit)
