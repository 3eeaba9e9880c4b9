"""The environment fingerprint, and the differences between two of them."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from carvana import console
from carvana.cluster import environment
from carvana.cluster.environment import (
    EnvironmentCheck,
    FolderToken,
    differences,
    environment_fingerprint,
    folder_token,
)
from carvana.data.dataset import fingerprint
from carvana.locks import file_lock
from carvana.training.cross_validation import TrainingJob


@dataclass(frozen=True)
class PlainJob:
    folder: Path
    title: str = "nothing"

    def fingerprint(self) -> dict[str, str]:
        return {"the weather": "fine"}

    def load(self) -> None: ...


@pytest.fixture
def token(tmp_path: Path) -> FolderToken:
    return FolderToken(tmp_path / "token", "text")


def test_two_fingerprints_of_one_environment_are_equal(tmp_path: Path, token: FolderToken) -> None:
    first, second = (environment_fingerprint(PlainJob(tmp_path), token) for _ in range(2))
    assert differences(first, second) == []
    assert first["the weather"] == "fine"
    assert first["keras"] == "3.15.1"
    assert first[f"the folder {tmp_path}"] == "not shared"


def test_a_difference_is_named_with_both_values() -> None:
    here, there = {"keras": "3.1", "a": "1"}, {"keras": "3.0", "a": "1", "b": "2"}
    assert differences(here, there) == ["keras (3.0, here 3.1)", "b (2, here unknown)"]


def test_the_folder_must_be_the_same_and_have_locks(token: FolderToken) -> None:
    assert token.check() == "not shared"
    token.path.write_text("process 1\nanother\n")
    assert token.check() == "another folder of that name"
    token.path.write_text("process 1\ntext\n")
    assert "has no locks" in token.check()
    with file_lock(token.path, console):
        token.path.write_text("process 1\ntext\n")
        assert token.check() == "shared"


def test_a_folder_token_lasts_as_long_as_its_block(tmp_path: Path) -> None:
    with folder_token(tmp_path) as token:
        job = PlainJob(tmp_path)
        check = EnvironmentCheck(job, token, environment_fingerprint(job, token))
        assert token.check() == "shared"
        assert pickle.loads(pickle.dumps(check)).differences() == []
    assert check.differences() == [f"the folder {tmp_path} (not shared, here shared)"]
    assert list(tmp_path.iterdir()) == []


def test_changed_code_is_a_difference(
    tmp_path: Path, token: FolderToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SOURCE", tmp_path)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text("x = 1\n")
    before = environment_fingerprint(PlainJob(tmp_path), token)
    (tmp_path / "package" / "a.py").write_text("x = 2\n")
    (found,) = differences(before, environment_fingerprint(PlainJob(tmp_path), token))
    assert found.startswith("the code (")


def test_changed_photos_and_recipes_are_differences(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("stages = [{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]\n")
    job = TrainingJob(data, tmp_path / "runs", (str(recipe),), ("base_filters=4",))
    before = job.fingerprint()
    recipe.write_text("depth = 2\n" + recipe.read_text())
    assert differences(before, job.fingerprint()) == [f"recipe {recipe}: depth (2, here 4)"]
    before = fingerprint(data, ["train", "train_masks"])
    photo = min((data / "train").iterdir())
    photo.write_bytes(photo.read_bytes() + b"\0")
    assert fingerprint(data, ["train", "train_masks"]) != before
    assert "No such file" in fingerprint(data, ["nowhere"])


def test_a_job_that_cannot_be_read_is_a_difference(tmp_path: Path, token: FolderToken) -> None:
    job = TrainingJob(tmp_path, tmp_path, ("unknown",), ())
    assert "unknown: no such recipe" in environment_fingerprint(job, token)["the job"]
