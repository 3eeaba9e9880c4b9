"""The table of wrong pixels by distance from the true contour."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.errors import UserError
from carvana.evaluation import errors
from carvana.runs import RunDir
from carvana.tables import write_csv

ROWS = [
    ("aaaaaaaaaaaa_01.jpg", "coarse", 0.98, np.array([6, 2, 0, 0, 0, 0])),
    ("aaaaaaaaaaaa_01.jpg", "refined", 0.99, np.array([3, 1, 0, 0, 0, 0])),
    ("aaaaaaaaaaaa_02.jpg", "coarse", 0.96, np.array([0, 0, 0, 0, 0, 8])),
    ("aaaaaaaaaaaa_02.jpg", "refined", 0.95, np.array([0, 0, 0, 0, 0, 12])),
    ("aaaaaaaaaaaa_03.jpg", "coarse", 1.0, np.array([0, 0, 0, 0, 0, 0])),
    ("aaaaaaaaaaaa_03.jpg", "refined", 1.0, np.array([0, 0, 0, 0, 0, 0])),
]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = errors.error_table(ROWS)
    write_csv(table, tmp_path / "errors.csv")
    header, first, *_ = (tmp_path / "errors.csv").read_text().splitlines()
    assert header == "img,map,dice,within_2,within_4,within_8,within_16,within_32,beyond_32"
    assert first == "aaaaaaaaaaaa_01.jpg,coarse,0.98,6,2,0,0,0,0"
    pd.testing.assert_frame_equal(errors.read_errors(tmp_path / "errors.csv"), table)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("img,map,dice\n", "has no column 'within_2'"),
        (
            ",".join(errors.COLUMNS) + "\naaaaaaaaaaaa_01.jpg,fine,0.9,1,1,1,1,1,1\n",
            "map is 'fine'; expected coarse or refined",
        ),
        (
            ",".join(errors.COLUMNS) + "\naaaaaaaaaaaa_01.jpg,coarse,0.9,1,1,many,1,1,1\n",
            "within_8 is 'many'",
        ),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "errors.csv").write_text(text)
    with pytest.raises(UserError, match=reason):
        errors.read_errors(tmp_path / "errors.csv")


def test_the_summary_holds_shares_of_all_wrong_pixels_of_a_map() -> None:
    summary = errors.summary(errors.error_table(ROWS))
    assert summary.index.tolist() == ["coarse", "refined"]
    coarse, refined = summary.to_dict("records")
    assert (coarse["photos"], coarse["dice"], coarse["wrong"]) == (
        3,
        pytest.approx(0.98),
        pytest.approx(16 / 3),
    )
    assert [coarse[column] for column in errors.COUNT_COLUMNS] == [6 / 16, 2 / 16, 0, 0, 0, 8 / 16]
    assert [refined[column] for column in errors.COUNT_COLUMNS] == [3 / 16, 1 / 16, 0, 0, 0, 12 / 16]


def test_a_map_without_wrong_pixels_has_no_shares() -> None:
    summary = errors.summary(errors.error_table(ROWS[-2:]))
    assert summary["wrong"].tolist() == [0, 0]
    assert summary[[*errors.COUNT_COLUMNS]].isna().all(axis=None)


def test_photos_that_refinement_changed_most_come_first() -> None:
    further = [
        (img, name, dice, np.zeros(6, int))
        for img, *scores in (("bbbbbbbbbbbb_01.jpg", 0.9, 0.95), ("bbbbbbbbbbbb_02.jpg", 0.99, 0.985))
        for name, dice in zip(("coarse", "refined"), scores, strict=True)
    ]
    table = errors.error_table([*ROWS, *further])
    helped, hurt = errors.most_changed(table, 5)
    assert helped["img"].tolist() == ["bbbbbbbbbbbb_01.jpg", "aaaaaaaaaaaa_01.jpg"]
    assert hurt["img"].tolist() == ["aaaaaaaaaaaa_02.jpg", "bbbbbbbbbbbb_02.jpg"]
    assert hurt[["coarse", "refined"]].iloc[0].tolist() == [0.96, 0.95]
    assert helped["difference"].tolist() == pytest.approx([0.05, 0.01])
    assert [len(photos) for photos in errors.most_changed(table, 1)] == [1, 1]


def test_without_refinement_no_photo_changed() -> None:
    helped, hurt = errors.most_changed(errors.error_table(ROWS[::2]), 5)
    assert helped.empty
    assert hurt.empty


def test_errors_by_recipe_join_the_folds_and_skip_runs_without_them(tmp_path: Path) -> None:
    for name, fold, rows in (
        ("fast", 0, ROWS[:2]),
        ("fast", 1, ROWS[2:4]),
        ("fast", 2, None),
        ("old", 0, None),
    ):
        run = RunDir(tmp_path / name / f"fold-{fold}")
        run.folder.mkdir(parents=True)
        run.scores.write_text("img,dice\n")
        if rows:
            write_csv(errors.error_table(rows), run.errors)
    unfinished = RunDir(tmp_path / "fast" / "fold-3")
    unfinished.folder.mkdir()
    write_csv(errors.error_table(ROWS), unfinished.errors)
    tables = errors.errors_by_recipe(tmp_path)
    assert list(tables) == ["fast"]
    assert tables["fast"]["img"].tolist() == [img for img, *_ in ROWS[:4]]
    assert errors.errors_by_recipe(tmp_path / "none") == {}
