"""Scores, and how sure they are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.errors import UserError
from carvana.evaluation.scores import mean_with_ci, score_submission


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = "img,rle_mask,Usage\na_01.jpg,1 4,Public\na_02.jpg,,Private\nb_01.jpg,3 2,Private\n"
    return _write(tmp_path / "truth.csv", rows)


def test_each_photo_is_scored_whatever_the_order(tmp_path: Path, truth: Path) -> None:
    mine = _write(tmp_path / "mine.csv", "img,rle_mask\nb_01.jpg,3 2\na_02.jpg,\na_01.jpg,1 2\n")
    scores = score_submission(mine, truth)
    assert scores["img"].tolist() == ["a_01.jpg", "a_02.jpg", "b_01.jpg"]
    assert scores["dice"].tolist() == pytest.approx([2 / 3, 1, 1])
    assert scores["Usage"].tolist() == ["Public", "Private", "Private"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a_01.jpg,1 2\na_02.jpg,\n", "lacks 1 of 3 photos, the first b_01.jpg"),
        ("a_01.jpg,1 2\na_02.jpg,\nb_01.jpg,\nb_01.jpg,\n", "has b_01.jpg more than once"),
        ("a_01.jpg,1 2\na_02.jpg,\nb_01.jpg,\nc_01.jpg,\n", "not asked for, the first c_01.jpg"),
        ("a_01.jpg,1 2 3\na_02.jpg,\nb_01.jpg,\n", "mine.csv: a_01.jpg: run-length text holds 3 numbers"),
    ],
)
def test_what_cannot_be_scored(tmp_path: Path, truth: Path, rows: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        score_submission(_write(tmp_path / "mine.csv", "img,rle_mask\n" + rows), truth)


def _scores(by_car: np.ndarray) -> pd.DataFrame:
    names = [f"{car:012x}_{angle + 1:02d}.jpg" for car in range(len(by_car)) for angle in range(16)]
    return pd.DataFrame({"img": names, "dice": np.repeat(by_car, 16)})


def test_the_interval_is_as_wide_as_cars_differ_not_photos() -> None:
    """Views of a car that are all alike say no more than one: the interval is that of the 25 cars' mean."""
    by_car = np.random.default_rng(0).normal(0.99, 0.002, size=25)
    result = mean_with_ci(_scores(by_car))
    assert result.dice == pytest.approx(by_car.mean())
    assert result.photos == 400
    expected = 1.96 * by_car.std() / 5
    assert result.high - result.dice == pytest.approx(expected, rel=0.1)
    assert result.dice - result.low == pytest.approx(expected, rel=0.1)


def test_the_interval_is_the_same_each_time() -> None:
    scores = _scores(np.linspace(0.9, 1, 7))
    assert mean_with_ci(scores) == mean_with_ci(scores)
