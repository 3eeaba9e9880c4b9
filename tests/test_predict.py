"""The script predict, from saved maps: tables are checked before any work begins, and damaged files are named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .prediction_helpers import write_maps
from .scripts import error_of, output_of, run_script

PREDICT = ["predict", "--blend", "maps=1", "--data", "data", "--out", "submissions/x.csv.gz"]


@pytest.fixture
def workspace(data: Path, tmp_path: Path) -> Path:
    """A folder with three test photos and a saved map of each."""
    write_maps(tmp_path / "maps", data, photos=3)
    return tmp_path


def _rows(change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    """Return a change of a table's rows."""
    return lambda text: "\n".join(change(text.splitlines())) + "\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rows(lambda rows: rows + rows[-1:]), "more than once (1 duplicate rows in all)"),
        (_rows(lambda rows: rows[:1] + 3 * rows[1:2]), "more than once (2 duplicate rows in all)"),
        (_rows(lambda rows: rows[:1]), "lists no photos"),
        (_rows(lambda rows: ["photo,rle_mask", *rows[1:]]), "has no column 'img'"),
        (lambda text: text + "00000000000a_01.jpg,\n", "00000000000a_01.jpg: missing"),
        (lambda text: "", "sample_submission.csv"),
    ],
)
def test_a_malformed_sample_ends_the_prediction_before_it_begins(
    workspace: Path, change: Callable[[str], str], message: str
) -> None:
    sample = workspace / "data" / "sample_submission.csv"
    sample.write_text(change(sample.read_text()))
    text = error_of(*PREDICT, cwd=workspace)
    assert message in text
    assert "sample_submission.csv" in text
    assert not (workspace / "submissions").exists()
    assert text == error_of(*PREDICT, "--threshold", "auto", cwd=workspace)  # the sample is read first


def test_a_damaged_saved_map_ends_the_prediction_with_its_name(workspace: Path) -> None:
    *_, last = sorted((workspace / "maps").iterdir())
    whole = last.read_bytes()
    last.write_bytes(whole[:60])
    assert f"maps/{last.name}: not a whole image" in error_of(*PREDICT, cwd=workspace)
    assert sorted(path.name for path in (workspace / "submissions").glob("[!.]*")) == []
    last.write_bytes(whole)
    assert "predicted already" not in output_of(*PREDICT, cwd=workspace)
    assert "predicted already" in output_of(*PREDICT, cwd=workspace)


def test_a_photo_of_the_user_is_not_replaced(workspace: Path) -> None:
    photo, *_ = sorted((workspace / "data" / "test").iterdir())
    own = photo.with_suffix(".png")
    own.write_bytes(b"of the user")
    cut_out = ["predict", "--blend", "maps=1", "--images", photo, "--cutouts"]
    text = error_of(*cut_out, photo.parent, cwd=workspace)
    assert f"{photo}: would overwrite {own}" in text
    assert "choose another folder with --cutouts" in text
    assert own.read_bytes() == b"of the user"
    assert "1 photo cut out to cutouts" in output_of(*cut_out, "cutouts", cwd=workspace)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--images", "{0}", "{1}", "{2}", "--cutouts"],
        ["--images", "{0}", "{1}", "{2}"],
        ["--cutouts", "--images", "{0}", "{1}", "{2}"],
        ["--images", "{0}", "--images", "{1}", "--images", "{2}", "--cutouts"],
        ["{0}", "{1}", "{2}", "--cutouts"],
        ["--images", "data/test", "--cutouts", "--fold", "all"],
        ["--images", "{0}", "data/test", "data/test/*.jpg", "--cutouts=cutouts"],
    ],
    ids=" ".join,
)
def test_photos_and_the_folder_of_cutouts_are_given_in_any_common_way(
    workspace: Path, arguments: list[str]
) -> None:
    test = workspace / "data" / "test"
    photos = sorted(f"data/test/{photo.name}" for photo in test.iterdir())
    for photo in photos[3:]:  # the workspace has no maps of them
        (workspace / photo).unlink()
    filled = [argument.format(*photos) for argument in arguments]
    text = output_of("predict", "--blend", "maps=1", *filled, cwd=workspace)
    assert "3 photos cut out to cutouts" in text
    assert len(list((workspace / "cutouts").glob("*_mask.png"))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cutouts"], "--cutouts requires photos, e.g. --images photos"),
        (["--data", "data", "data/test"], "unexpected argument data/test; photos to cut out are given with"),
        (["--cutouts", "data/metadata.csv", "data/test"], "--cutouts data/metadata.csv: is a file"),
    ],
)
def test_photos_or_a_folder_in_the_wrong_place(workspace: Path, arguments: list[str], message: str) -> None:
    result = run_script("predict", "--blend", "maps=1", *arguments, cwd=workspace)
    assert result.status == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (workspace / "cutouts").exists()
