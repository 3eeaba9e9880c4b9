"""The ledger `submissions/ledger.csv`: one row per submission and board, with its scores."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from carvana import console
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.locks import file_lock
from carvana.machine import git_commit
from carvana.tables import TEXT, Columns, Number, Text, check_column, read_csv, write_csv

COLUMNS = [
    *("submission", "recipe", "folds", "fold", "tta", "threshold", "engine", "cv_dice", "cv_low", "cv_high"),
    *("public", "private", "board", "when", "commit", "sha256"),
]
"""Columns of the ledger.

`folds` is the fold table's name, `fold` a fold's number or `all`, and `board` is `kaggle`, `local` or empty (not
scored yet). `engine` is the library that computed the networks, with its precision, e.g. `openvino-bfloat16`; ledgers
of earlier versions lack this column. `cv_dice`, `public` and `private` are mean Dice scores (0..1); `cv_low` and
`cv_high` are the ends of the 95% bootstrap interval of `cv_dice` over cars. `when` is a time in UTC, `commit` that of
the code, and `sha256` that of the submission's file.
"""

_SCORE = Number(0, 1, optional=True)
_COLUMN_TYPES: Columns = (
    dict.fromkeys(COLUMNS, TEXT)
    | dict.fromkeys(["cv_dice", "cv_low", "cv_high", "public", "private"], _SCORE)
    | {
        "submission": Text(r"[^/\\]+", "a file name"),
        "fold": Text(r"[0-9]{1,4}|all|", "a fold's number, `all` or nothing"),
        "board": Text("kaggle|local|", "kaggle, local or nothing"),
        "when": Text(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?", "a time such as 2026-01-31T12:00:00Z"),
        "sha256": Text("[0-9a-f]{64}", "a SHA-256 of 64 hex digits"),
    }
)

LedgerRow = dict[str, str]
"""A row of the ledger: the text of each column, "" where the value is unknown.

Rows that were read also have the columns that the user added to the file.
"""


class Ledger:
    """The ledger's file, which need not exist yet. Processes change it one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def beside(cls, submission: Path) -> "Ledger":
        """Return the ledger in the folder of a submission."""
        return cls(submission.parent / "ledger.csv")

    def rows(self) -> list[LedgerRow]:
        """Return all rows, the oldest first.

        Raises:
            UserError: the file is malformed, e.g. because its last row is incomplete.
        """
        return self._table().to_dict("records")

    def find(self, submission: str, sha256: str, board: str | None = None) -> LedgerRow | None:
        """Return the newest row of a submission's file, or None.

        Args:
            submission: the file's name.
            sha256: the file's SHA-256, in hex digits.
            board: the board to search, by default all of them.
        """
        found = [row for row in self.rows() if _file_key(row) == (submission, sha256)]
        found = [row for row in found if board in (None, row["board"])]
        return found[-1] if found else None

    def row_of(self, submission: Path) -> LedgerRow:
        """Return a new row for a submission's file, with all known columns but board, scores and date."""
        digest = sha256_of_file(submission)
        known = self.find(submission.name, digest) or {
            "submission": submission.name,
            "sha256": digest,
            "commit": git_commit(),
        }
        unscored = {"public": "", "private": "", "board": "", "when": ""}
        return dict.fromkeys(COLUMNS, "") | known | unscored

    def add(self, row: LedgerRow) -> None:
        """Add a row, and remove the rows that it replaces.

        It replaces rows of the same file name that no board has scored, and rows of the same file (by name and
        SHA-256) on the same board. Their cells in columns that the user added become those of the new row.
        """
        row = _own_columns(row)
        with self._locked():
            table = self._table()
            kept: list[LedgerRow] = []
            added: LedgerRow = {}
            for old in table.to_dict("records"):
                if _replaces(row, old):
                    added |= {column: cell for column, cell in old.items() if cell}
                else:
                    kept.append(old)
            self._write([*kept, added | row], table.columns)

    def update(self, submission: str, sha256: str, columns: LedgerRow) -> None:
        """Write some columns into all rows of a submission's file.

        Args:
            submission: the file's name.
            sha256: the file's SHA-256, in hex digits.
            columns: the new text of each column.
        """
        with self._locked():
            table = self._table()
            of_file = (table["submission"] == submission) & (table["sha256"] == sha256)
            table.loc[of_file, list(columns)] = list(columns.values())
            self._write(table.to_dict("records"), table.columns)

    def clear_score(self, row: LedgerRow) -> None:
        """Remove a row from its board; a file without any other row keeps it as an unscored one."""
        with self._locked():
            table = self._table()
            rows = table.to_dict("records")
            others = [old for old in rows if _own_columns(old) != _own_columns(row)]
            if any(_file_key(old) == _file_key(row) for old in others):
                self._write(others, table.columns)
            else:
                unscored = [old if old in others else old | {"board": ""} for old in rows]
                self._write(unscored, table.columns)

    def _locked(self) -> AbstractContextManager[None]:
        """Hold the lock under which the ledger is read, changed and written."""
        file = Path(os.path.realpath(self.path))  # one lock for all links to the file
        return file_lock(file.with_name(f".{file.stem}.lock"), console)

    def _table(self) -> pd.DataFrame:
        """Read the ledger, str: `COLUMNS`, and after them the columns that the user added."""
        if not self.path.exists():
            return pd.DataFrame(columns=COLUMNS)
        if not self.path.read_bytes().strip():
            raise UserError(f"{self.path}: is empty; delete it, and the next command writes a new one")
        required = [column for column in COLUMNS if column != "engine"]
        table = read_csv(self.path, dict.fromkeys(required, TEXT))
        added = [column for column in table.columns if column not in COLUMNS]
        table = table.reindex(columns=[*COLUMNS, *added], fill_value="").fillna(dict.fromkeys(added, ""))
        for name, column in _COLUMN_TYPES.items():
            check_column(self.path, table[name], column)
        return table

    def _write(self, rows: Sequence[LedgerRow], columns: pd.Index) -> None:
        write_csv(pd.DataFrame(rows, columns=columns), self.path)


def _own_columns(row: LedgerRow) -> LedgerRow:
    """Return a row without the columns that the user added."""
    return {column: row.get(column, "") for column in COLUMNS}


def _replaces(row: LedgerRow, old: LedgerRow) -> bool:
    if not old["board"] and old["submission"] == row["submission"]:
        return True
    return (_file_key(old), old["board"]) == (_file_key(row), row["board"])


def _file_key(row: LedgerRow) -> tuple[str, str]:
    return row["submission"], row["sha256"]


def utc_now() -> str:
    """Return the current time for the column `when`: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
