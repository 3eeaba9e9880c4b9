"""The ledger: rows are added, replaced and kept."""

from pathlib import Path

import pytest
from tests.damage import run_at_once

from carvana.errors import UserError
from carvana.submission.ledger import COLUMNS, Ledger


def _row(submission: str, **columns: str) -> dict[str, str]:
    known = {
        "submission": submission,
        "recipe": "fast",
        "folds": "carvana-5",
        "fold": "0",
        "sha256": "a" * 64,
    }
    return dict.fromkeys(COLUMNS, "") | known | columns


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "submissions" / "ledger.csv")
    assert ledger.rows() == []
    ledger.add(_row("a.csv.gz", cv_dice="0.990000"))
    assert ledger.path.read_text().splitlines()[0] == ",".join(COLUMNS)
    (row,) = ledger.rows()
    assert (row["submission"], row["cv_dice"], row["private"]) == ("a.csv.gz", "0.990000", "")


def test_a_score_replaces_the_unscored_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(_row("a.csv.gz"))
    ledger.add(_row("b.csv.gz"))
    ledger.add(_row("a.csv.gz", board="local", private="0.9"))
    assert [(row["submission"], row["board"]) for row in ledger.rows()] == [
        ("b.csv.gz", ""),
        ("a.csv.gz", "local"),
    ]


def test_scores_of_other_files_and_boards_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(_row("a.csv.gz", board="local", private="0.8"))
    ledger.add(_row("a.csv.gz", board="kaggle", private="0.81"))
    ledger.add(_row("a.csv.gz", board="local", private="0.9", sha256="b" * 64))
    ledger.add(_row("a.csv.gz", board="local", private="0.9", sha256="b" * 64))
    assert [row["private"] for row in ledger.rows()] == ["0.8", "0.81", "0.9"]
    assert ledger.find("a.csv.gz", "b" * 64)["private"] == "0.9"
    assert ledger.find("a.csv.gz", "c" * 64) is None


def _add_many(path: Path, name: str) -> None:
    for number in range(20):
        Ledger(path).add(_row(f"{name}-{number}.csv.gz", board="local"))


def test_no_row_is_lost_when_processes_add_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    run_at_once(_add_many, [(path, name) for name in "abc"])
    expected = {f"{name}-{number}.csv.gz" for name in "abc" for number in range(20)}
    assert {row["submission"] for row in Ledger(path).rows()} == expected


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("cv_dice", "good"),
        ("private", "nan"),
        ("public", "7"),
        ("fold", "two"),
        ("board", "moon"),
        ("when", "yesterday"),
        ("sha256", "a" * 40),
        ("submission", "../x.csv.gz"),
    ],
)
def test_a_malformed_cell_is_named(tmp_path: Path, column: str, cell: str) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(_row("a.csv.gz"))
    with pytest.raises(UserError, match=rf"ledger\.csv: row 2: {column} is '{cell[:9]}"):
        ledger.add(_row("b.csv.gz") | {column: cell})
        ledger.rows()


def test_an_incomplete_last_row_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(_row("a.csv.gz", board="local"))
    ledger.add(_row("b.csv.gz", board="local"))
    ledger.path.write_bytes(ledger.path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"ledger\.csv: row 2: sha256"):
        ledger.rows()
