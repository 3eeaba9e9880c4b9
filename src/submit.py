"""Submit: check a submission, have it scored, and write the ledger."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.data.folder import test_photos
from carvana.errors import InputError
from carvana.leaderboard import comparison
from carvana.leaderboard.entries import check_entry
from carvana.leaderboard.ledger import Ledger, Row
from carvana.leaderboard.local import submit_locally
from carvana.leaderboard.submission import sha256


class Board(StrEnum):
    """Who scores."""

    local = "local"


def submit(
    submission: Annotated[Path, typer.Argument(help="The submission (.csv.gz).")],
    data: Annotated[Path, typer.Option(help="The data folder, whose test photos it is for.")],
    each_fold: Annotated[
        bool, typer.Option("--each-fold", help="Each fold's own submission beside it, too.")
    ] = False,
    board: Annotated[Board, typer.Option(help="local: against DATA/test_masks.csv.")] = Board.local,
) -> None:
    """Check a submission, have it scored, and write the scores into the ledger beside it.

    Example:

        ./run.sh submit submissions/miniature.csv.gz --data data --each-fold --board local
    """
    paths = [submission, *(_of_folds(submission) if each_fold else [])]
    photos = test_photos(data)
    for path in paths:
        check_entry(path, photos)
    rows = [submit_locally(path, data / "test_masks.csv") for path in paths]
    console.show_table(f"Scored by the {board} board", comparison.HEADINGS, comparison.table(rows), left=2)


def _of_folds(submission: Path) -> list[Path]:
    """The submissions of single folds that the ledger has beside an ensemble's."""
    ledger = Ledger.beside(submission)
    ensemble = ledger.find(submission.name, sha256(submission))
    if ensemble is None:
        raise InputError(f"{submission}: is not in {ledger.path}; predict it with --each-fold first")
    folds = {row["submission"]: row for row in ledger.rows() if _is_fold_of(row, ensemble)}
    return [submission.parent / name for name in folds]


def _is_fold_of(row: Row, ensemble: Row) -> bool:
    alike = ("recipe", "folds", "tta", "threshold", "commit")
    return row["fold"] != "all" and all(row[column] == ensemble[column] for column in alike)


if __name__ == "__main__":
    console.run(submit)
