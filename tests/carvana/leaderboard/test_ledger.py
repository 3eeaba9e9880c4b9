"""The ledger and the comparison that is made of it."""

from pathlib import Path

from carvana.leaderboard import comparison
from carvana.leaderboard.ledger import COLUMNS, Ledger


def _row(submission: str, **columns: str) -> dict[str, str]:
    known = {"submission": submission, "recipe": "fast", "folds": "carvana-5", "fold": "0", "sha256": "aa"}
    return dict.fromkeys(COLUMNS, "") | known | columns


def test_rows_survive_the_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "submissions" / "ledger.csv")
    assert ledger.rows() == []
    ledger.add(_row("a.csv.gz", cv_dice="0.990000"))
    assert ledger.path.read_text().splitlines()[0] == ",".join(COLUMNS)
    (row,) = ledger.rows()
    assert (row["submission"], row["cv_dice"], row["private"]) == ("a.csv.gz", "0.990000", "")


def test_a_score_takes_the_place_of_the_unscored_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(_row("a.csv.gz"))
    ledger.add(_row("b.csv.gz"))
    ledger.add(_row("a.csv.gz", board="local", private="0.9"))
    assert [(row["submission"], row["board"]) for row in ledger.rows()] == [
        ("b.csv.gz", ""),
        ("a.csv.gz", "local"),
    ]


def test_scores_of_other_bytes_and_boards_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(_row("a.csv.gz", board="local", private="0.8"))
    ledger.add(_row("a.csv.gz", board="kaggle", private="0.81"))
    ledger.add(_row("a.csv.gz", board="local", private="0.9", sha256="bb"))
    ledger.add(_row("a.csv.gz", board="local", private="0.9", sha256="bb"))
    assert [row["private"] for row in ledger.rows()] == ["0.8", "0.81", "0.9"]
    assert ledger.find("a.csv.gz", "bb")["private"] == "0.9"
    assert ledger.find("a.csv.gz", "cc") is None


def test_the_comparison_has_folds_first_and_the_newest_of_each() -> None:
    scored = {"board": "local", "cv_dice": "0.980000", "cv_low": "0.97", "cv_high": "0.99"}
    rows = [
        _row("fast.csv.gz", fold="all", private="0.990000", **scored),
        _row("fast-fold10.csv.gz", fold="10", private="0.95", **scored),
        _row("fast-fold2.csv.gz", fold="2", private="0.900000", **scored),
        _row("fast-fold2.csv.gz", fold="2", private="0.970000", **scored),
        _row("base.csv.gz", recipe="base", cv_dice="0.9"),
    ]
    table = comparison.table(rows)
    assert all(len(cells) == len(comparison.HEADINGS) for cells in table)
    shown = [dict(zip(comparison.HEADINGS, cells, strict=True)) for cells in table]
    assert [(row["recipe"], row["fold"]) for row in shown] == [
        ("base", "0"),
        ("fast", "2"),
        ("fast", "10"),
        ("fast", "all"),
    ]
    assert [row["private - CV"] for row in shown] == ["", "-0.010000", "-0.030000", "+0.010000"]
    assert [row["board"] for row in shown] == ["none yet", "local", "local", "local"]
