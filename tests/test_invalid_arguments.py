"""Invalid arguments and files of every script: exit 1 with one line, or 2 with the usage, and never a traceback."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from .scripts import Result, run_script

DATA = ["--data", "data"]
FOLDS = [*DATA, "--folds", "folds.csv"]
NO_NUMBERS = ["²", "٣", "1.5", "", "-1", "9" * 20, "9" * 5_000, "1e9", "nan"]


@pytest.fixture
def folder(rendered: Path, tmp_path: Path) -> Path:
    """A working directory with a data folder and a fold table, without trained runs."""
    (tmp_path / "data").symlink_to(rendered)
    cars = sorted({path.name.partition("_")[0] for path in (rendered / "train").iterdir()})
    rows = [f"{car},{number % 2}\n" for number, car in enumerate(cars)]
    (tmp_path / "folds.csv").write_text("car,fold\n" + "".join(rows))
    return tmp_path


def _assert_refused(result: Result) -> None:
    assert result.status in (1, 2), result
    if result.status == 1:
        assert result.stderr.startswith("error: "), result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
    else:
        assert result.stderr.startswith("Usage: "), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize(
    "command",
    [
        ["train", "--recipe", "miniature", *FOLDS, "--fold"],
        ["predict", "--recipe", "miniature", *DATA, "--fold"],
        ["predict", *DATA, "--weights"],
        ["export", "--weights"],
        ["export", "--recipe", "miniature", "--fold"],
        ["study", *FOLDS, "--study", "none.toml", "--fold"],
        ["predict", "--recipe", "miniature", *DATA, "--cluster"],
        ["split", *DATA, "--n-folds"],
        ["prepare", "--source", "turntable", "--data", "new", "--cars"],
        ["prepare", "--source", "turntable", "--data", "new", "--size"],
        ["compare", "--worst"],
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_what_is_no_number_in_range(folder: Path, command: list[str], number: str) -> None:
    _assert_refused(run_script(*command, number, cwd=folder))


@pytest.mark.parametrize("other", ["0", "all"])
def test_fold_none_with_other_folds(folder: Path, other: str) -> None:
    result = run_script(
        "train", "--recipe", "miniature", *FOLDS, "--fold", "none", "--fold", other, cwd=folder
    )
    assert result.status == 2
    assert "--fold none cannot be combined with other folds" in result.stderr


@pytest.mark.parametrize("name", ["", " "])
@pytest.mark.parametrize(
    "command",
    [
        ["train", *FOLDS, "--recipe"],
        ["train", *FOLDS, "--recipe", "miniature", "--init"],
        ["train", *FOLDS, "--recipe", "miniature", "--recipe"],
        ["predict", *DATA, "--recipe"],
        ["predict", *DATA, "--weights"],
        ["export", "--recipe"],
        ["export", "--weights"],
        ["page", "--weights"],
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_an_empty_name(folder: Path, command: list[str], name: str) -> None:
    result = run_script(*command, name, cwd=folder)
    _assert_refused(result)
    assert f"Invalid value for '{command[-1]}': the name is empty" in result.stderr


@pytest.mark.parametrize(
    "size",
    [
        *(
            "³²x64",
            "٣٢x64",
            "64",
            "64x",
            "x64",
            "64x64x64",
            "64X64",
            "64*64",
            "31x64",
            "64x31",
            "-64x64",
            "64.0x64",
        ),
        *(" 64x64", "64x 64", "64x64\n", "1_00x64", "5000x64", "9" * 20 + "x64", "64x" + "9" * 5_000, "axb"),
    ],
)
def test_size(folder: Path, size: str) -> None:
    result = run_script("prepare", "--source", "turntable", "--data", "new", "--size", size, cwd=folder)
    _assert_refused(result)
    assert result.stderr.startswith("error: --size ")
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    "change",
    [
        *(
            "",
            "seed",
            "seed=",
            "=",
            "seed=8589934592",
            "base_filters=1000000",
            "depth=40",
            "depth=²",
            "a.b.c=1",
        ),
        *(
            "stages.0.size=[10000000,10000000]",
            "stages.0.batch_size=1000000",
            "stages.0.epochs=1000000000000",
        ),
        *("seed=" + "9" * 5_000, "seed=" + "[" * 3_000, "stages.²=1", "name=x", "loss=inf", "seed=\udcff"),
    ],
)
def test_set(folder: Path, change: str) -> None:
    for command in (["train", "--recipe", "miniature", *FOLDS], ["predict", "--recipe", "miniature", *DATA]):
        _assert_refused(run_script(*command, "--set", change, cwd=folder))


@pytest.mark.parametrize(
    "recipe", ["", "none", "..", "../..", "..toml", "...toml", "data", "x" * 300, "loop.toml"]
)
def test_recipe(folder: Path, recipe: str) -> None:
    (folder / "loop.toml").symlink_to("loop.toml")
    for name in ("..toml", "...toml"):
        shutil.copy(Path(__file__).parents[1] / "src" / "recipes" / "miniature.toml", folder / name)
    before = sorted(os.listdir(folder))
    _assert_refused(run_script("train", "--recipe", recipe, *FOLDS, cwd=folder))
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    "table",
    [
        *(
            "",
            "car\n",
            "car,fold\n",
            "car,fold\nabc,0\n",
            "fold,car\n0,abc\n",
            "car,fold\n{car},²\n",
            "\0",
            "\udcff",
        ),
        *(
            "car,fold\n{car},9999999999999999999999\n",
            "car,fold\n{car},0\n{car},1\n",
            "car,fold\n{car}\n",
            '"',
        ),
    ],
)
def test_fold_table(folder: Path, rendered: Path, table: str) -> None:
    car = next((rendered / "train").iterdir()).name.partition("_")[0]
    (folder / "folds.csv").write_text(table.replace("{car}", car), "utf-8", "surrogateescape")
    _assert_refused(run_script("train", "--recipe", "miniature", *FOLDS, cwd=folder))


@pytest.mark.parametrize(
    "blend", ["", "miniature", "miniature=", "miniature=0", "miniature=nan", "a=²", "=1", "..=1"]
)
def test_blend(folder: Path, blend: str) -> None:
    _assert_refused(run_script("predict", "--blend", blend, *DATA, cwd=folder))


@pytest.mark.parametrize("minutes", ["-1", "nan", "inf", "1e9", "²", "ten", ""])
def test_wait(folder: Path, minutes: str) -> None:
    _assert_refused(run_script("submit", "none.csv.gz", *DATA, "--wait", minutes, cwd=folder))


@pytest.mark.parametrize("threshold", ["", "0", "1", "-0.5", "nan", "inf", "½", "half", "1e400"])
def test_threshold(folder: Path, threshold: str) -> None:
    _assert_refused(
        run_script("predict", "--recipe", "miniature", *DATA, "--threshold", threshold, cwd=folder)
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["--fold", "--set", "--threshold", "--blend", "--cluster", "--tta", "--recipe"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=20),
)
def test_any_text(folder: Path, option: str, text: str) -> None:
    """No recipe is trained here, so that a text that is valid is refused, too."""
    recipe = [] if option in ("--blend", "--recipe") else ["--recipe", "miniature"]
    _assert_refused(run_script("predict", *recipe, *DATA, f"{option}={text}", cwd=folder))


@pytest.mark.parametrize("kind", ["missing", "folder", "loop", "empty", "binary", "zip", "bomb"])
@pytest.mark.parametrize("option", ["submission", "--truth"])
def test_score(folder: Path, rendered: Path, kind: str, option: str) -> None:
    odd, good = folder / f"odd.{'zip' if kind == 'zip' else 'csv'}", rendered / "test_masks.csv"
    if kind == "folder":
        odd.mkdir()
    elif kind == "loop":
        odd.symlink_to(odd)
    elif kind == "bomb":
        rows = good.read_text().splitlines()
        odd.write_text(
            "\n".join([rows[0], rows[1].split(",")[0] + ",100 9223372036854775806,Public", *rows[2:], ""])
        )
    elif kind != "missing":
        odd.write_bytes({"empty": b"", "binary": b"\0\xff" * 99, "zip": b"no zip"}[kind])
    submission, truth = (odd, good) if option == "submission" else (good, odd)
    result = run_script("score", submission, "--truth", truth, cwd=folder)
    _assert_refused(result)
    assert str(odd) in result.stderr


def _missing(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _page(path: Path) -> None:
    path.write_text("<html>Sign in to download</html>")


def _turned(path: Path) -> None:
    with Image.open(path) as image:
        turned = image.rotate(90, expand=True)
    turned.save(path)


@pytest.mark.parametrize("damage", [_missing, _empty, _cut, _folder, _loop, _page, _turned])
@pytest.mark.parametrize("part", ["train", "train_masks"])
def test_photos_and_masks(data: Path, part: str, damage: Callable[[Path], None]) -> None:
    file = sorted((data / part).iterdir())[7]
    damage(file)
    for command in (
        ["prepare", "--source", "folder", "--data", data],
        ["train", "--recipe", "miniature", "--data", data, "--folds", "none.csv"],
    ):
        result = run_script(*command, cwd=data.parent)
        _assert_refused(result)
        assert (
            file.name.partition(".")[0].removesuffix("_mask") in result.stderr or "none.csv" in result.stderr
        )


@pytest.mark.parametrize("table", ["sample_submission.csv", "train_masks.csv"])
@pytest.mark.parametrize("damage", [_missing, _empty, _cut, _folder, _loop, _page])
def test_tables_of_the_data(data: Path, table: str, damage: Callable[[Path], None]) -> None:
    damage(data / table)
    command = (
        ["prepare", "--source", "folder"]
        if table == "sample_submission.csv"
        else ["split", "--out", "new.csv"]
    )
    result = run_script(*command, "--data", data, cwd=data.parent)
    _assert_refused(result)
    assert table in result.stderr
