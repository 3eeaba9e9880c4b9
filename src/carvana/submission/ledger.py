"""The ledger: every submission and its scores, a row a submission and board, in `submissions/ledger.csv`."""

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from carvana.files import sha256_of_file
from carvana.tables import read_csv, write_csv

COLUMNS = [
    *("submission", "recipe", "folds", "fold", "tta", "threshold", "cv_dice", "cv_low", "cv_high"),
    *("public", "private", "board", "when", "commit", "sha256"),
]
"""`folds` is the fold table's name, `fold` a number or `all`, `board` `kaggle` or `local` or not yet any; a
score is a mean Dice, and `cv_low`, `cv_high` its 95% bootstrap interval over cars."""

LedgerRow = dict[str, str]
"""A row, by column, as text; "" where nothing is known."""


class Ledger:
    """The ledger's file."""

    def __init__(self, path: Path) -> None:
        """Take the file at `path`, which need not be there yet."""
        self.path = path

    @classmethod
    def beside(cls, submission: Path) -> "Ledger":
        """The ledger of the folder that a submission lies in."""
        return cls(submission.parent / "ledger.csv")

    def rows(self) -> list[LedgerRow]:
        """All rows, the oldest first."""
        return read_csv(self.path, COLUMNS)[COLUMNS].to_dict("records") if self.path.exists() else []

    def find(self, submission: str, sha256: str, board: str | None = None) -> LedgerRow | None:
        """The newest row of a submission (its file's name) with these very bytes, or None; of one board alone."""
        same = [row for row in self.rows() if _bytes_of(row) == (submission, sha256)]
        same = [row for row in same if board in (None, row["board"])]
        return same[-1] if same else None

    def row_of(self, submission: Path) -> LedgerRow:
        """What is known of a submission's file whatever the board: a new row, without scores and date."""
        digest = sha256_of_file(submission)
        known = self.find(submission.name, digest) or {
            "submission": submission.name,
            "sha256": digest,
            "commit": commit(),
        }
        unscored = {"public": "", "private": "", "board": "", "when": ""}
        return dict.fromkeys(COLUMNS, "") | known | unscored

    def add(self, row: LedgerRow) -> None:
        """Add a row, in the place of those of the same submission that no board has scored.

        Scores of the same bytes on the same board are replaced too; all others stay.
        """
        row = {column: row.get(column, "") for column in COLUMNS}
        kept = [old for old in self.rows() if old["board"] or old["submission"] != row["submission"]]
        same = ("submission", "sha256", "board")
        kept = [old for old in kept if any(old[column] != row[column] for column in same)]
        self._write([*kept, row])

    def clear_score(self, row: LedgerRow) -> None:
        """Take back a row whose board gave it no score: the submission stays, as one that no board has scored."""
        rows = self.rows()
        others = [old for old in rows if old != row]
        stands = any(_bytes_of(old) == _bytes_of(row) for old in others)
        self._write(others if stands else [row | {"board": ""} if old == row else old for old in rows])

    def _write(self, rows: Sequence[LedgerRow]) -> None:
        write_csv(pd.DataFrame(rows, columns=COLUMNS), self.path)


def _bytes_of(row: LedgerRow) -> tuple[str, str]:
    return row["submission"], row["sha256"]


def now() -> str:
    """The time for the column `when`: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commit() -> str:
    """The code's commit for the column `commit`; "" where it is not in a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
