"""Submit: check a submission, have it scored, and write the ledger."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.data.folder import test_photos
from carvana.errors import InputError
from carvana.leaderboard import comparison
from carvana.leaderboard.entries import check_entry, fold_path, photo_sizes
from carvana.leaderboard.ledger import Ledger
from carvana.leaderboard.local import submit_locally


class Board(StrEnum):
    """Who scores."""

    local = "local"


def submit(
    submission: Annotated[
        Path | None, typer.Argument(help="The submission. [default: the newest of all folds]")
    ] = None,
    each_fold: Annotated[bool, typer.Option("--each-fold", help="Also each fold's own, beside it.")] = False,
    board: Annotated[Board, typer.Option(help="local: against DATA/test_masks.csv.")] = Board.local,
    data: Annotated[Path, typer.Option(help="The data folder, whose test photos it is for.")] = Path("data"),
) -> None:
    """Check a submission, have it scored, and write the scores into the ledger beside it.

    Examples:

        ./run.sh submit submissions/miniature.csv.gz

        ./run.sh submit --each-fold --data data --board local
    """
    submission = submission or _newest_ensemble(Ledger(Path("submissions/ledger.csv")))
    paths = [*_of_folds(submission), submission] if each_fold else [submission]
    sizes = photo_sizes(test_photos(data))
    for path in paths:
        check_entry(path, sizes)
    rows = [submit_locally(path, data / "test_masks.csv") for path in paths]
    console.show_table(f"Scored by the {board} board", comparison.HEADINGS, comparison.table(rows), left=2)


def _newest_ensemble(ledger: Ledger) -> Path:
    ensembles = [row["submission"] for row in ledger.rows() if row["fold"] == "all"]
    if not ensembles:
        raise InputError(
            f"{ledger.path}: holds no submission of all folds yet; `./run.sh predict` writes one"
        )
    return ledger.path.parent / ensembles[-1]


def _of_folds(submission: Path) -> list[Path]:
    """The submissions of single folds that lie beside an ensemble's."""
    ledger = Ledger.beside(submission)
    folds = sorted({int(row["fold"]) for row in ledger.rows() if row["fold"].isdigit()})
    known = {row["submission"] for row in ledger.rows()}
    paths = [path for path in (fold_path(submission, fold) for fold in folds) if path.name in known]
    if not paths:
        raise InputError(
            f"{submission}: has no folds' submissions beside it; `predict --each-fold` writes them"
        )
    return paths


if __name__ == "__main__":
    console.run(submit)
