"""The ledger and the comparison that is made of it."""

from pathlib import Path

from carvana.submission import comparison
from carvana.submission.ledger import COLUMNS, Ledger


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


def _fold(recipe: str, fold: int, cv: str, public: str, private: str) -> dict[str, str]:
    scores = {"cv_dice": cv, "public": public, "private": private, "board": "kaggle"}
    return _row(f"{recipe}-fold{fold}.csv.gz", recipe=recipe, fold=str(fold), **scores)


def test_how_folds_and_board_agree() -> None:
    rows = [
        _fold("fast", 0, "0.990000", "0.985000", "0.984000"),
        _fold("fast", 1, "0.991000", "0.987000", "0.983000"),
        _fold("fast", 2, "0.993000", "0.988000", "0.982000"),
        _fold("base", 0, "0.980000", "0.970000", "0.972000"),
        _fold("base", 1, "0.981000", "", "0.973000"),
        _row("fast.csv.gz", fold="all", cv_dice="0.99", public="0.1", private="0.1", board="kaggle"),
        _row("fast-fold3.csv.gz", fold="3", cv_dice="0.99"),
    ]
    table = [
        dict(zip(comparison.AGREEMENT_HEADINGS, cells, strict=True))
        for cells in comparison.agreement_table(rows)
    ]
    assert [(row["recipe"], row["folds"]) for row in table] == [
        ("base", "2"),
        ("fast", "3"),
        ("all recipes", "5"),
    ]
    base, fast, everything = table
    assert (fast["rank corr. CV, public"], fast["rank corr. CV, private"]) == ("+1.00", "-1.00")
    assert (fast["mean public - CV"], fast["mean private - CV"]) == ("-0.004667", "-0.008333")
    assert base["rank corr. CV, public"] == ""  # of two it is always 1 or -1
    assert base["mean public - CV"] == "-0.010000"
    assert everything["rank corr. CV, private"] == "+0.60"


def test_nothing_scored_agrees_with_nothing() -> None:
    assert comparison.agreement_table([_row("a.csv.gz", cv_dice="0.9")]) == []
