"""The comparison that is made of the ledger."""

import numpy as np
import pandas as pd

from carvana.evaluation import errors
from carvana.submission import comparison
from carvana.submission.ledger import COLUMNS


def _row(submission: str, **columns: str) -> dict[str, str]:
    known = {"submission": submission, "recipe": "fast", "folds": "carvana-5", "fold": "0", "sha256": "aa"}
    return dict.fromkeys(COLUMNS, "") | known | columns


def test_the_newest_row_of_each_submission_is_shown_folds_first() -> None:
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
    cells = [dict(zip(comparison.HEADINGS, row, strict=True)) for row in table]
    assert [(row["recipe"], row["fold"]) for row in cells] == [
        ("base", "0"),
        ("fast", "2"),
        ("fast", "10"),
        ("fast", "all"),
    ]
    assert [row["private - CV"] for row in cells] == ["", "-0.010000", "-0.030000", "+0.010000"]
    assert [row["board"] for row in cells] == ["none yet", "local", "local", "local"]


def _fold(recipe: str, fold: int, cv: str, public: str, private: str) -> dict[str, str]:
    scores = {"cv_dice": cv, "public": public, "private": private, "board": "kaggle"}
    return _row(f"{recipe}-fold{fold}.csv.gz", recipe=recipe, fold=str(fold), **scores)


def test_agreement_of_cv_and_board_over_folds() -> None:
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
    base, fast, all_recipes = table
    assert (fast["rank corr. CV, public"], fast["rank corr. CV, private"]) == ("+1.00", "-1.00")
    assert (fast["mean public - CV"], fast["mean private - CV"]) == ("-0.004667", "-0.008333")
    assert base["rank corr. CV, public"] == ""  # of two folds it is always 1 or -1
    assert base["mean public - CV"] == "-0.010000"
    assert all_recipes["rank corr. CV, private"] == "+0.60"


def test_unscored_rows_give_no_agreement() -> None:
    assert comparison.agreement_table([_row("a.csv.gz", cv_dice="0.9")]) == []


def _errors(*photos: tuple[str, str, float, list[int]]) -> pd.DataFrame:
    return errors.error_table((img, name, dice, np.array(counts)) for img, name, dice, counts in photos)


def test_wrong_pixels_are_listed_by_recipe_map_and_distance() -> None:
    tables = {
        "fast": _errors(
            ("aa_01.jpg", "coarse", 0.97, [700, 100, 50, 50, 50, 50]),
            ("aa_01.jpg", "refined", 0.99, [150, 50, 0, 0, 0, 0]),
        ),
        "plain": _errors(
            ("aa_01.jpg", "coarse", 0.5, [1, 0, 0, 0, 0, 0]), ("aa_02.jpg", "coarse", 1, [0] * 6)
        ),
        "perfect": _errors(("aa_01.jpg", "coarse", 1, [0] * 6)),
    }
    assert comparison.ERROR_HEADINGS[4:] == ["2", "4", "8", "16", "32", ">32"]
    assert comparison.error_rows(tables) == [
        ["fast", "coarse", "0.970000", "1000", "70", "10", "5", "5", "5", "5"],
        ["fast", "refined", "0.990000", "200", "75", "25", "0", "0", "0", "0"],
        ["plain", "coarse", "0.750000", "0", "100", "0", "0", "0", "0", "0"],
        ["perfect", "coarse", "1.000000", "0", "", "", "", "", "", ""],
    ]


def test_photos_that_refinement_helped_and_hurt_most_have_a_line_each() -> None:
    tables = {
        "both": _errors(
            ("aa_01.jpg", "coarse", 0.97, [9] * 6),
            ("aa_01.jpg", "refined", 0.99, [3] * 6),
            ("aa_02.jpg", "coarse", 0.98, [3] * 6),
            ("aa_02.jpg", "refined", 0.9775, [4] * 6),
        ),
        "coarse": _errors(("aa_01.jpg", "coarse", 0.97, [9] * 6)),
    }
    assert comparison.refinement_lines(tables) == [
        "both: refinement helped aa_01.jpg most: 0.970000 -> 0.990000",
        "both: refinement hurt aa_02.jpg most: 0.980000 -> 0.977500",
    ]


def test_what_is_no_number_of_a_fold_counts_as_an_ensemble() -> None:
    rows = [
        _row(f"{fold}.csv.gz", fold=fold, board="local", cv_dice="0.9", public="0.9")
        for fold in ("²", "٣", "")
    ]
    assert comparison.agreement_table(rows) == []
    rows += [_row("10.csv.gz", fold="10"), _row("2.csv.gz", fold="2")]
    assert [row[1] for row in comparison.table(rows)][:2] == ["2", "10"]
