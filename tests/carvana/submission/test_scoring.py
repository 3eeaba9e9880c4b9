"""Scores of a submission against known masks."""

from pathlib import Path

import pytest

from carvana.errors import UserError
from carvana.submission.scoring import score_submission


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = "img,rle_mask,Usage\na_01.jpg,1 4,Public\na_02.jpg,,Private\nb_01.jpg,3 2,Private\n"
    return _write(tmp_path / "truth.csv", rows)


def test_photos_are_scored_in_the_order_of_the_truth(tmp_path: Path, truth: Path) -> None:
    submission = _write(tmp_path / "mine.csv", "img,rle_mask\nb_01.jpg,3 2\na_02.jpg,\na_01.jpg,1 2\n")
    scores = score_submission(submission, truth)
    assert scores["img"].tolist() == ["a_01.jpg", "a_02.jpg", "b_01.jpg"]
    assert scores["dice"].tolist() == pytest.approx([2 / 3, 1, 1])
    assert scores["Usage"].tolist() == ["Public", "Private", "Private"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a_01.jpg,1 2\na_02.jpg,\n", "lacks 1 of 3 photos, the first b_01.jpg"),
        ("a_01.jpg,1 2\na_02.jpg,\nb_01.jpg,\nb_01.jpg,\n", "has b_01.jpg more than once"),
        ("a_01.jpg,1 2\na_02.jpg,\nb_01.jpg,\nc_01.jpg,\n", "has 1 unexpected photos, the first c_01.jpg"),
        ("a_01.jpg,1 2 3\na_02.jpg,\nb_01.jpg,\n", "mine.csv: a_01.jpg: run-length text holds 3 numbers"),
    ],
)
def test_an_invalid_submission_is_refused(tmp_path: Path, truth: Path, rows: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        score_submission(_write(tmp_path / "mine.csv", "img,rle_mask\n" + rows), truth)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "lists no photos"),
        ("a_01.jpg,1 4,Public\na_01.jpg,1 4,Public\n", "has a_01.jpg more than once"),
        ("a_01.jpg,1 2 3,Public\n", "a_01.jpg: run-length text holds 3 numbers"),
        (
            "a_01.jpg,100 9223372036854775806,Public\n",
            "a_01.jpg: run 1 contains 9223372036854775806, more than",
        ),
        ("a_01.jpg,1 4,recipe\n", "row 1: Usage is 'recipe'; expected Public or Private"),
        ("a_01.jpg,1 4,\n", "row 1: Usage is ''"),
    ],
)
def test_an_invalid_truth_is_not_blamed_on_the_submission(tmp_path: Path, rows: str, message: str) -> None:
    truth = _write(tmp_path / "truth.csv", "img,rle_mask,Usage\n" + rows)
    submission = _write(tmp_path / "mine.csv", "img,rle_mask\na_01.jpg,1 4\n")
    with pytest.raises(UserError, match=rf"truth\.csv: {message}") as error:
        score_submission(submission, truth)
    assert "mine.csv" not in str(error.value)


@pytest.mark.parametrize(("size", "accepted"), [((40, 60), False), ((41, 60), True), (None, True)])
def test_masks_lie_within_the_size(tmp_path: Path, size: tuple[int, int] | None, accepted: bool) -> None:
    truth = _write(tmp_path / "truth.csv", "img,rle_mask\na_01.jpg,1 4\n")
    submission = _write(tmp_path / "mine.csv", "img,rle_mask\na_01.jpg,2400 2\n")
    if accepted:
        assert score_submission(submission, truth, size)["dice"].tolist() == [0]
    else:
        with pytest.raises(
            UserError, match=r"mine\.csv: a_01\.jpg: run 1 ends at pixel 2401, past the 2400 pixels"
        ):
            score_submission(submission, truth, size)


@pytest.mark.parametrize("size", [None, (200, 200)])
def test_the_size_is_that_of_the_photos_beside_the_truth(data: Path, size: tuple[int, int] | None) -> None:
    truth = data / "test_masks.csv"
    rows = truth.read_text().splitlines()
    photo = rows[1].partition(",")[0]
    mine = "\n".join(
        ["img,rle_mask", f"{photo},{64 * 96} 2", *(f"{row.partition(',')[0]}," for row in rows[2:])]
    )
    with pytest.raises(UserError, match=f"{photo}: run 1 ends at pixel 6145, past the 6144 pixels of 96x64"):
        score_submission(_write(data / "mine.csv", mine), truth, size)
