"""The ledger: every submission and its scores, a row a submission and board, in `submissions/ledger.csv`."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from carvana.data.folder import read_csv
from carvana.files import write_whole

COLUMNS = [
    *("submission", "recipe", "folds", "fold", "tta", "threshold", "cv_dice", "cv_low", "cv_high"),
    *("public", "private", "board", "when", "commit", "sha256"),
]
"""`folds` is the fold table's name, `fold` a number or `all`, `board` `kaggle` or `local` or not yet any; a
score is a mean Dice, and `cv_low`, `cv_high` its 95% bootstrap interval over cars."""

Row = dict[str, str]
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

    def rows(self) -> list[Row]:
        """All rows, the oldest first."""
        return read_csv(self.path, COLUMNS)[COLUMNS].to_dict("records") if self.path.exists() else []

    def find(self, submission: str, sha256: str) -> Row | None:
        """The newest row of a submission (its file's name) with these very bytes, or None."""
        same = [row for row in self.rows() if (row["submission"], row["sha256"]) == (submission, sha256)]
        return same[-1] if same else None

    def add(self, row: Row) -> None:
        """Add a row, in the place of those of the same submission that no board has scored.

        Scores of the same bytes on the same board are replaced too; all others stay.
        """
        row = {column: row.get(column, "") for column in COLUMNS}
        kept = [old for old in self.rows() if old["board"] or old["submission"] != row["submission"]]
        same = ("submission", "sha256", "board")
        kept = [old for old in kept if any(old[column] != row[column] for column in same)]
        with write_whole(self.path) as part:
            pd.DataFrame([*kept, row]).to_csv(part, index=False, lineterminator="\n")


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
