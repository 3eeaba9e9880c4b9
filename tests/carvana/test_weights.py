"""Weights that come with the code: found by name or folder, and never used if a file was changed."""

from pathlib import Path

import pytest

from carvana import weights
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import RunDir, TrainingRecord, run_dir
from carvana.weights import (
    FoldScore,
    WeightsDescription,
    find_weights,
    read_description,
    weights_name,
    write_description,
)

RECIPE = read_recipe("miniature")
RECORD = TrainingRecord(photos=64, cars=4, minutes=1.5, resumed=False, machine="a processor", commit="")


def _write(run: RunDir) -> RunDir:
    """Write the files of a run on all photos; the network is not a real one."""
    run.folder.mkdir(parents=True)
    run.model.write_bytes(b"a network")
    write_recipe(RECIPE, run.recipe)
    run.write_training_record(RECORD)
    return run


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """The weights `small`, in a folder that takes the place of the code's own."""
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path / "weights")
    run = _write(RunDir(tmp_path / "weights" / "small"))
    digests = {path.name: sha256_of_file(path) for path in run.folder.iterdir()}
    scores = [FoldScore(fold=0, dice=0.99, photos=32)]
    write_description(WeightsDescription(recipe="small", sha256=digests, out_of_fold=scores), run.folder)
    return run


def test_weights_are_found_by_their_name_and_by_their_folder(packaged: RunDir) -> None:
    assert find_weights("small") == find_weights("small/") == find_weights(str(packaged.folder)) == packaged
    assert weights_name(packaged) == "small-weights"
    assert read_description(packaged.folder).out_of_fold[0].dice == 0.99


def test_a_finished_run_is_used_like_weights(tmp_path: Path) -> None:
    run = _write(run_dir(tmp_path, RECIPE, None))
    assert find_weights(str(run.folder)) == run
    assert weights_name(run) == "miniature-all"


@pytest.mark.usefixtures("packaged")
def test_a_folder_of_a_run_goes_before_weights_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _write(RunDir(tmp_path / "small"))
    monkeypatch.chdir(tmp_path)
    assert find_weights("small/") == run


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    run = _write(run_dir(tmp_path, RECIPE, 0))
    with pytest.raises(UserError, match="fold-0: not trained to its end"):
        find_weights(str(run.folder))


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize("name", ["fast", "", "..", "runs/fast/all", "/"])
def test_unknown_weights_are_refused(name: str) -> None:
    with pytest.raises(
        UserError, match=f"^{name}: no such weights; known are small, or give the folder of a finished run$"
    ):
        find_weights(name)


@pytest.mark.parametrize("name", ["model.keras", "recipe.toml", "training.json"])
def test_a_changed_file_is_refused(packaged: RunDir, name: str) -> None:
    path = packaged.folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(
        UserError, match=rf"{name}: its SHA-256 is not that of weights\.json; copy the folder"
    ):
        find_weights("small")


def test_a_missing_file_is_refused(packaged: RunDir) -> None:
    packaged.training_record.unlink()
    with pytest.raises(UserError, match=r"training\.json: no such file, though weights\.json names it"):
        find_weights("small")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"recipe": "x", "sha256": {"a": "b"}}']
)
def test_a_malformed_description_is_refused(packaged: RunDir, content: bytes) -> None:
    (packaged.folder / "weights.json").write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.json: .*; copy the folder again"):
        find_weights("small")


def test_the_weights_that_come_with_the_code_are_whole_and_small() -> None:
    run = find_weights("fast")
    assert run.folder == weights.WEIGHTS / "fast"
    assert sum(path.stat().st_size for path in run.networks) <= 12_000_000
    assert run.read_training_record().cars == 112
    assert [score.fold for score in read_description(run.folder).out_of_fold] == [0, 1, 2, 3, 4]
    card = (run.folder / "README.md").read_text()
    assert "not under the project's MIT\nlicence" in card
    assert all(f"| {angle} | 0.99" in card for angle in range(1, 17))
