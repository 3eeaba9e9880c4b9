"""Submit: check a submission, have it scored, and write the ledger."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.competition import SIZE
from carvana.data.dataset import submission_order, test_samples
from carvana.errors import UserError
from carvana.kaggle import upload
from carvana.submission import comparison
from carvana.submission.ledger import Ledger
from carvana.submission.local_board import submit_to_local_board
from carvana.submission.predict_test import check_against_photos, fold_path, photo_sizes


class Board(StrEnum):
    """Who scores."""

    kaggle = "kaggle"
    local = "local"


def submit(
    submission: Annotated[
        Path | None, typer.Argument(help="The submission. [default: the newest of all folds]")
    ] = None,
    each_fold: Annotated[bool, typer.Option("--each-fold", help="Also each fold's own, beside it.")] = False,
    board: Annotated[
        Board | None,
        typer.Option(
            help="kaggle, or local: against DATA/test_masks.csv. [default: local where that file lies]"
        ),
    ] = None,
    data: Annotated[Path, typer.Option(help="The data folder, whose test photos it is for.")] = Path("data"),
    message: Annotated[
        str | None, typer.Option(help="Kaggle: what stands beside it. [default: recipe, fold and CV]")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Kaggle: also bytes that were submitted before.")
    ] = False,
    wait: Annotated[float, typer.Option(min=0, help="Kaggle: minutes to wait for the scores.")] = 10,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, say what would be done, and end.")
    ] = False,
) -> None:
    """Check a submission, have it scored, and write the scores into the ledger beside it.

    For Kaggle it takes a token of https://www.kaggle.com/settings/api in KAGGLE_API_TOKEN, or any other
    credentials that Kaggle's own client knows. A submission goes there once: its SHA-256 stands in the ledger.

    Examples:

        ./run.sh submit submissions/miniature.csv.gz

        ./run.sh submit --each-fold --data data --board local

        ./run.sh submit submissions/fast.csv.gz --each-fold --board kaggle --data $CARVANA_DATA
    """
    submission = submission or _newest_ensemble(Ledger(Path("submissions/ledger.csv")))
    paths = [*_of_folds(submission), submission] if each_fold else [submission]
    board = board or (Board.local if (data / "test_masks.csv").is_file() else Board.kaggle)
    sizes = _sizes(data, board)
    for path in paths:
        check = check_against_photos(path, sizes)
        if dry_run:
            console.message(f"{path}: in order, {check.photos:,} photos; would go to the {board} board")
    if dry_run:
        return
    if board == Board.local:
        rows = [submit_to_local_board(path, data / "test_masks.csv") for path in paths]
    else:
        rows = upload.submit(paths, message=message, again=again, wait_s=60 * wait)
    console.show_table(f"Scored by the {board} board", comparison.HEADINGS, comparison.table(rows), left=2)


def _sizes(data: Path, board: Board) -> dict[str, tuple[int, int]]:
    """The (height, width) of each photo of the board; Kaggle's are all alike, and 8 GB need not be there for them."""
    if board == Board.kaggle:
        return dict.fromkeys(submission_order(data), SIZE)
    return photo_sizes(test_samples(data))


def _newest_ensemble(ledger: Ledger) -> Path:
    ensembles = [row["submission"] for row in ledger.rows() if row["fold"] == "all"]
    if not ensembles:
        raise UserError(f"{ledger.path}: holds no submission of all folds yet; `./run.sh predict` writes one")
    return ledger.path.parent / ensembles[-1]


def _of_folds(submission: Path) -> list[Path]:
    """The submissions of single folds that lie beside an ensemble's."""
    ledger = Ledger.beside(submission)
    folds = sorted({int(row["fold"]) for row in ledger.rows() if row["fold"].isdigit()})
    known = {row["submission"] for row in ledger.rows()}
    paths = [path for path in (fold_path(submission, fold) for fold in folds) if path.name in known]
    if not paths:
        raise UserError(
            f"{submission}: has no folds' submissions beside it; `predict --each-fold` writes them"
        )
    return paths


if __name__ == "__main__":
    console.run(submit)
