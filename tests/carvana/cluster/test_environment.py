"""What a process sees, and how it is told from what another sees."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from carvana import console
from carvana.cluster import environment as sights
from carvana.cluster.environment import differences, sight
from carvana.data.dataset import fingerprint
from carvana.locks import file_lock
from carvana.training.cross_validation import TrainingJob


@dataclass(frozen=True)
class Plain:
    folder: Path
    title: str = "nothing"

    def sees(self) -> dict[str, str]:
        return {"the weather": "fine"}

    def load(self) -> None: ...


def _folder(tmp_path: Path, token: str) -> str:
    return sight(Plain(tmp_path), tmp_path / "mark", token)[f"the folder {tmp_path}"]


def test_two_looks_see_the_same(tmp_path: Path) -> None:
    looks = [sight(Plain(tmp_path), tmp_path / "mark", "") for _ in range(2)]
    assert differences(*looks) == []
    assert looks[0]["the weather"] == "fine"
    assert looks[0]["keras"] == "3.15.1"


def test_a_difference_is_named_with_both_sides() -> None:
    ours, theirs = {"keras": "3.1", "a": "1"}, {"keras": "3.0", "a": "1", "b": "2"}
    assert differences(ours, theirs) == ["keras (3.0, here 3.1)", "b (2, here unknown)"]


def test_the_folder_must_be_the_same_and_keep_locks(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert _folder(tmp_path, "token") == "not shared"
    mark.write_text("process 1\nanother\n")
    assert _folder(tmp_path, "token") == "another folder of that name"
    mark.write_text("process 1\ntoken\n")
    assert "keeps no locks" in _folder(tmp_path, "token")
    with file_lock(mark, console):
        mark.write_text("process 1\ntoken\n")
        assert _folder(tmp_path, "token") == "shared"


def test_other_code_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sights, "_SOURCE", tmp_path)
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("x = 1\n")
    before = sight(Plain(tmp_path), tmp_path / "mark", "")
    (tmp_path / "room" / "a.py").write_text("x = 2\n")
    (found,) = differences(before, sight(Plain(tmp_path), tmp_path / "mark", ""))
    assert found.startswith("the code (")


def test_other_photos_and_other_recipes_are_seen(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("stages = [{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]\n")
    job = TrainingJob(data, tmp_path / "runs", (str(recipe),), ("base_filters=4",))
    before = job.sees()
    recipe.write_text("depth = 2\n" + recipe.read_text())
    assert differences(before, job.sees()) == [f"recipe {recipe}: depth (2, here 4)"]
    before = fingerprint(data, ["train", "train_masks"])
    photo = min((data / "train").iterdir())
    photo.write_bytes(photo.read_bytes() + b"\0")
    assert fingerprint(data, ["train", "train_masks"]) != before
    assert "No such file" in fingerprint(data, ["nowhere"])


def test_what_a_job_cannot_see_is_a_difference(tmp_path: Path) -> None:
    job = TrainingJob(tmp_path, tmp_path, ("unheard",), ())
    assert "unheard: no such recipe" in sight(job, tmp_path / "mark", "")["the job"]
