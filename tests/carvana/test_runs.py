"""The files of a run: read back as written, and damaged ones named in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.damage import flip_bit

from carvana.errors import UserError
from carvana.evaluation.errors import COLUMNS, errors_by_recipe
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import (
    RunDir,
    RunMetadata,
    TrainingRecord,
    finished_runs,
    finished_runs_by_recipe,
    recipe_runs,
    run_dir,
)

RECIPE = read_recipe("miniature")

METADATA = RunMetadata(
    table="cars-5",
    folds=[0, 1],
    split="0a1b",
    backend="tensorflow",
    keras="3.0",
    precision="float32",
    device="a processor",
    step_per_s={"float32": 2.5, "mixed_bfloat16": 2},
)

READERS: dict[str, Callable[[RunDir], object]] = {
    "metadata.json": RunDir.read_metadata,
    "recipe.toml": RunDir.read_recipe,
    "history.csv": RunDir.read_history,
    "scores.csv": RunDir.read_scores,
    "errors.csv": lambda run: errors_by_recipe(run.folder.parent.parent),
}


def _finish(runs: Path, fold: int, split: str = METADATA.split) -> RunDir:
    """Write the files of a finished run, without networks."""
    run = run_dir(runs, RECIPE, fold)
    run.folder.mkdir(parents=True)
    write_recipe(RECIPE, run.recipe)
    run.write_metadata(METADATA.model_copy(update={"split": split}))
    run.history.write_text(
        "epoch,stage,height,width,learning_rate,loss,dice,train_s,validation_s\n1,1,32,48,0.01,0.5,0.9,1.5,0.5\n"
    )
    run.scores.write_text("img,dice\n00087a6bd4dc_01.jpg,0.99\n")
    run.errors.write_text(
        f"{','.join(COLUMNS)}\n00087a6bd4dc_01.jpg,coarse,0.99{',1' * (len(COLUMNS) - 3)}\n"
    )
    return run


def test_a_run_on_all_photos_is_finished_when_its_record_is_there(tmp_path: Path) -> None:
    run = run_dir(tmp_path, RECIPE, None)
    assert (run.folder, run.holds_out, run.finished) == (tmp_path / "miniature" / "all", False, False)
    record = TrainingRecord(photos=64, cars=4, minutes=1.5, resumed=False, machine="a processor", commit="")
    run.write_training_record(record)
    assert run.finished
    assert run.read_training_record() == record
    assert recipe_runs(run.folder.parent) == []  # it is no fold of an ensemble
    run.training_record.write_text('{"photos": 64}')
    with pytest.raises(UserError, match=r"training\.json: cars: field required; train again with --fresh"):
        run.read_training_record()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Fold 0 of two."""
    return _finish(tmp_path, 0)


def test_metadata_are_read_back(run: RunDir) -> None:
    assert run.read_metadata() == METADATA
    assert run.read_recipe().model_copy(update={"name": RECIPE.name}) == RECIPE
    assert run.read_history()["dice"].tolist() == [0.9]


def _damaged(name: str, *contents: bytes) -> list:
    return [pytest.param(name, content, id=f"{name} {content[:30]!r}") for content in contents]


_TEXT = METADATA.model_dump_json().encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *_damaged(
            "metadata.json",
            b"",
            b"{",
            b"[]",
            b"null",
            b"{}",
            b"\xff\xfe\x00",
            b"[" * 100_000,
            _TEXT[:-5],
            _TEXT.replace(b"[0,1]", b"[0,null]"),
            _TEXT.replace(b"[0,1]", b"[]"),
            _TEXT.replace(b"[0,1]", b"[-1]"),
            _TEXT.replace(b"[0,1]", b'["0"]'),
            _TEXT.replace(b'"0a1b"', b"5"),
            _TEXT.replace(b"2.5", b"NaN"),
            _TEXT.replace(b"2.5", b'"fast"'),
            _TEXT.replace(b'"float32":2.5,', b""),
            _TEXT.replace(b'"float32"', b'"float8"'),
            _TEXT.replace(b"}", b',"colour":1}'),
        ),
        *_damaged("recipe.toml", b"", b"depth", b"depth = 'deep'", b"\xff\xfe\x00", b"colour = 1"),
        *_damaged(
            "history.csv",
            b"",
            b"epoch,stage\n1,1\n",
            b"epoch,stage,height,width,learning_rate,loss,dice,train_s,validation_s\n",
            b"epoch,stage,height,width,learning_rate,loss,dice,train_s,validation_s\n1,1,32,48,0.1,0.5,good,1,1\n",
            b"epoch,stage,height,width,learning_rate,loss,dice,train_s,validation_s\n1,1,32,48,0.1,nan,0.9,1,1\n",
            b"\xff\xfe\x00",
        ),
        *_damaged(
            "scores.csv",
            b"",
            b"img,dice\n",
            b"img,dice\na,good\n",
            b"img,dice\na,\n",
            b"img,dice\na,nan\n",
            b"img,dice\na,1.5\n",
            b"img\na\n",
            b"\x89PNG\r\n\x1a\n\x00",
        ),
        *_damaged("errors.csv", b"", b"img,map,dice\na,coarse,1\n", b"\xff\xfe\x00"),
    ],
)
def test_a_damaged_file_is_named(run: RunDir, name: str, content: bytes) -> None:
    path = run.folder / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        READERS[name](run)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("; train again with --fresh")
    assert "\n" not in message


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_named_or_harmless(run: RunDir, name: str) -> None:
    path = run.folder / name
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(len(content), size=60):
        path.write_bytes(flip_bit(content, place, rng.integers(8)))
        try:
            READERS[name](run)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["metadata.json", "recipe.toml", "history.csv"])
def test_a_missing_file_is_named(run: RunDir, name: str) -> None:
    (run.folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: .*; train again with --fresh"):
        READERS[name](run)


def test_other_folders_than_folds_are_ignored(run: RunDir, tmp_path: Path) -> None:
    _finish(tmp_path, 10)
    _finish(tmp_path, 2)
    for name in ("fold-x", "fold-2.bak", "fold-02", "fold-²", "fold-", "fold-1 (copy)", "fold--1", "Fold-3"):
        stray = run.folder.parent / name
        stray.mkdir()
        (stray / "scores.csv").write_bytes(b"\xff")
        (stray / "metadata.json").write_bytes(b"\xff")
    (run.folder.parent / "fold-4").touch()
    assert [found.fold for found in recipe_runs(run.folder.parent)] == [0, 2, 10]
    assert {
        recipe: [found.fold for found in finished]
        for recipe, finished in finished_runs_by_recipe(tmp_path).items()
    } == {RECIPE.name: [0, 2, 10]}


def test_all_folds_of_a_recipe_are_needed(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fold-1: not trained to its end"):
        finished_runs(tmp_path, RECIPE)
    other = _finish(tmp_path, 1)
    assert finished_runs(tmp_path, RECIPE) == [run, other]
    assert finished_runs(tmp_path, RECIPE, 1) == [other]


def test_folds_of_other_photos_are_refused(run: RunDir, tmp_path: Path) -> None:
    _finish(tmp_path, 1, split="ffff")
    with pytest.raises(UserError, match="trained on another split"):
        finished_runs(tmp_path, RECIPE)
