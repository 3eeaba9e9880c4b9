"""The ledger: rows are added, replaced and kept."""

from pathlib import Path

from carvana.submission.ledger import COLUMNS, Ledger


def _row(submission: str, **columns: str) -> dict[str, str]:
    known = {"submission": submission, "recipe": "fast", "folds": "carvana-5", "fold": "0", "sha256": "aa"}
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
    ledger.add(_row("a.csv.gz", board="local", private="0.9", sha256="bb"))
    ledger.add(_row("a.csv.gz", board="local", private="0.9", sha256="bb"))
    assert [row["private"] for row in ledger.rows()] == ["0.8", "0.81", "0.9"]
    assert ledger.find("a.csv.gz", "bb")["private"] == "0.9"
    assert ledger.find("a.csv.gz", "cc") is None
