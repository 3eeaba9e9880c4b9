"""The ledger: rows are added, replaced and kept."""

from pathlib import Path

import pandas as pd
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


def _add_notes(path: Path, *notes: str) -> None:
    """Add a column of notes to a ledger, as a person does in a spreadsheet."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.insert(1, "notes", notes)
    table.to_csv(path, index=False)


def test_columns_of_the_user_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(_row("a.csv.gz"))
    ledger.add(_row("b.csv.gz", board="kaggle"))
    _add_notes(ledger.path, "the first", "on a GPU, over night")
    ledger.add(_row("c.csv.gz"))
    ledger.add(_row("a.csv.gz", board="local", private="0.9"))  # replaces the row without a score
    ledger.clear_score(_row("b.csv.gz", board="kaggle"))
    table = pd.read_csv(ledger.path, dtype=str, keep_default_na=False)
    assert table.columns.tolist() == [*COLUMNS, "notes"]
    assert table[["submission", "board", "notes"]].to_numpy().tolist() == [
        ["b.csv.gz", "", "on a GPU, over night"],
        ["c.csv.gz", "", ""],
        ["a.csv.gz", "local", "the first"],
    ]


def test_a_column_of_the_user_stays_without_rows_and_with_short_ones(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.path.write_text(",".join([*COLUMNS, "notes"]) + "\n")
    ledger.add(_row("a.csv.gz"))
    assert ledger.rows() == [_row("a.csv.gz") | {"notes": ""}]
    ledger.path.write_text(ledger.path.read_text().rstrip(",\n") + "\n")
    assert ledger.rows() == [_row("a.csv.gz") | {"notes": ""}]


def test_a_link_to_a_shared_ledger_stays(tmp_path: Path) -> None:
    shared, link = tmp_path / "shared.csv", tmp_path / "submissions" / "ledger.csv"
    link.parent.mkdir()
    link.symlink_to("../shared.csv")
    Ledger(link).add(_row("a.csv.gz"))
    Ledger(shared).add(_row("b.csv.gz"))
    Ledger(link).add(_row("c.csv.gz"))
    assert link.is_symlink()
    assert [row["submission"] for row in Ledger(shared).rows()] == ["a.csv.gz", "b.csv.gz", "c.csv.gz"]
    assert [path.name for path in link.parent.iterdir()] == ["ledger.csv"]  # the lock is beside the file


def test_no_row_is_lost_when_a_ledger_has_two_names(tmp_path: Path) -> None:
    link = tmp_path / "submissions" / "ledger.csv"
    link.parent.mkdir()
    link.symlink_to("../shared.csv")
    run_at_once(_add_many, [(link, "a"), (tmp_path / "shared.csv", "b")])
    assert len(Ledger(link).rows()) == 40


def test_an_empty_file_is_to_be_deleted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.path.touch()
    with pytest.raises(UserError, match=r"ledger\.csv: is empty; delete it"):
        ledger.rows()


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
