"""Writing and checking submissions."""

import gzip
import zipfile
from pathlib import Path

import pytest

from carvana.errors import UserError
from carvana.submission.csv_file import Check, check_submission, fold_path, read_masks, write_submission

PHOTOS = ["00000000000a_01.jpg", "00000000000a_02.jpg", "00000000000b_01.jpg"]


def _check(path: Path) -> Check:
    return check_submission(path, dict.fromkeys(PHOTOS, (2, 5)))


def _write(path: Path, *rows: str, heading: str = "img,rle_mask") -> Path:
    path.write_bytes(gzip.compress("\n".join([heading, *rows, ""]).encode()))
    return path


def test_a_written_submission_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    with write_submission(path) as write_row:
        for photo, mask in zip(PHOTOS, ["1 2 4 1", "", "10 1"], strict=True):
            write_row(photo, mask)
    text = "img,rle_mask\n00000000000a_01.jpg,1 2 4 1\n00000000000a_02.jpg,\n00000000000b_01.jpg,10 1\n"
    assert gzip.decompress(path.read_bytes()).decode() == text
    assert _check(path) == Check(photos=3, empty=1, runs=1)


def test_masks_of_some_photos_are_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "mine.csv.gz", *(f"{photo},{1 + place} 1" for place, photo in enumerate(PHOTOS)))
    assert read_masks(path, [PHOTOS[2], PHOTOS[0], "none.jpg"]) == {PHOTOS[0]: "1 1", PHOTOS[2]: "3 1"}


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.csv.gz", "two.csv.gz"):
        with write_submission(tmp_path / name) as write_row:
            write_row(PHOTOS[0], "1 2")
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([f"{PHOTOS[0]},1 1", f"{PHOTOS[1]},1 1"], f"lacks 1 of 3 photos, the first {PHOTOS[2]}"),
        ([f"{photo},1 1" for photo in [*PHOTOS, PHOTOS[1]]], f"has {PHOTOS[1]} more than once"),
        (
            [f"{photo},1 1" for photo in [*PHOTOS, "cat.jpg"]],
            "has a row for cat.jpg, which sample_submission.csv does not list",
        ),
        (
            [f"{photo},11 1" for photo in PHOTOS],
            f"{PHOTOS[0]}: run 1 ends at pixel 11, past the 10 pixels of 5x2",
        ),
        ([f"{photo},1 2 2" for photo in PHOTOS], f"{PHOTOS[0]}: run-length text holds 3 numbers"),
        ([f"{photo},5 1 1 1" for photo in PHOTOS], "run 2 starts before"),
        (
            [f"{photo},100 9223372036854775806" for photo in PHOTOS],
            f"{PHOTOS[0]}: run 1 contains 922.*, more than",
        ),
        ([f"{photo},² 1" for photo in PHOTOS], f"{PHOTOS[0]}: run-length text contains '²'"),
        ([f'{photo},"1\n1"\n' for photo in PHOTOS[:2]], "lacks 1 of 3"),
    ],
)
def test_an_invalid_submission_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        _check(_write(tmp_path / "bad.csv.gz", *rows))
    assert "bad.csv.gz" in str(error.value)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no column 'rle_mask'; it has img, mask"):
        _check(_write(tmp_path / "bad.csv.gz", heading="img,mask"))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "cut.csv.gz", *(f"{photo},1 1" for photo in PHOTOS))
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"cut\.csv\.gz: not a whole CSV file"):
        _check(path)


def _zipped(path: Path, *names: str) -> None:
    rows = "\n".join(["img,rle_mask", *(f"{photo},1 1" for photo in PHOTOS), ""])
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, rows)


def test_a_zipped_submission_is_checked(tmp_path: Path) -> None:
    _zipped(tmp_path / "mine.csv.zip", "mine.csv")
    assert _check(tmp_path / "mine.csv.zip") == Check(photos=3, empty=0, runs=1)


@pytest.mark.parametrize("ending", ["csv", "zip", "gz", "bz2", "xz", "zst", "tar", "tar.gz"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"odd.{ending}"
    for content in (b"", b"PK\x03\x04", b"\x1f\x8b", b"\xff" * 99, b"\0" * 99, b"img", b'"'):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=rf"odd\.{ending}: (not a whole CSV|cannot be read|has no column)"
        ):
            _check(path)


def test_zips_of_no_file_or_of_two_are_refused(tmp_path: Path) -> None:
    for names in ([], ["one.csv", "two.csv"]):
        _zipped(tmp_path / "odd.zip", *names)
        with pytest.raises(UserError, match=r"odd\.zip: not a whole CSV file"):
            _check(tmp_path / "odd.zip")


def test_a_submission_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bad\.csv\.gz: lists no photos"):
        _check(_write(tmp_path / "bad.csv.gz"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        _check(tmp_path / "none.csv.gz")


@pytest.mark.parametrize(
    ("ensemble", "fold"),
    [
        ("fast.csv.gz", "fast-fold3.csv.gz"),
        ("fast=0.6+deep=0.4.csv.gz", "fast=0.6+deep=0.4-fold3.csv.gz"),
        ("mine.csv", "mine-fold3.csv"),
    ],
)
def test_a_folds_submission_lies_beside_the_ensembles(ensemble: str, fold: str) -> None:
    assert fold_path(Path("submissions") / ensemble, 3) == Path("submissions") / fold
