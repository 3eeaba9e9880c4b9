"""Inputs of a session: the competition's data in each layout, networks, and an earlier version's output."""

import hashlib
import shutil
from pathlib import Path

import pytest

from carvana.data.dataset import test_samples as photos_to_predict
from carvana.data.dataset import train_samples
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.kaggle.manifest import MANIFEST
from carvana.kaggle.session.attached import COMPETITION, attached_files
from carvana.kaggle.session.inputs import competition_folder, find_networks, prepare_data, restore_earlier
from carvana.kaggle.session.output import publish
from carvana.kaggle.session.settings import SessionSettings

PARTS = ("train", "train_masks", "test", "sample_submission.csv")


@pytest.mark.parametrize("place", [f"competitions/{COMPETITION}", COMPETITION])
def test_both_places_of_the_competition(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError, match="lacks the competition's data; accept the rules at"):
        competition_folder(tmp_path)
    (tmp_path / place).mkdir(parents=True)
    assert competition_folder(tmp_path) == tmp_path / place


def test_zips_are_unpacked(zips: Path, rendered: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare_data(zips, PARTS, data)
    assert [one.name for one in train_samples(data)] == [one.name for one in train_samples(rendered)]
    assert len(photos_to_predict(data)) == len(photos_to_predict(rendered))


@pytest.mark.parametrize("nested", [False, True])
def test_unpacked_folders_are_used_where_they_lie(rendered: Path, tmp_path: Path, nested: bool) -> None:
    source = tmp_path / "source"
    for part in PARTS:
        target = source / part / part if nested else source / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (rendered / part).is_dir() else shutil.copyfile)(rendered / part, target)
    data = tmp_path / "data"
    prepare_data(source, PARTS, data)
    assert (data / "train").is_symlink()
    assert len(train_samples(data)) == len(train_samples(rendered))
    assert len(photos_to_predict(data)) == len(photos_to_predict(rendered))


def test_a_part_that_is_missing(rendered: Path, tmp_path: Path) -> None:
    shutil.copytree(rendered / "train", tmp_path / "source" / "train")
    with pytest.raises(UserError, match=r"source: has neither train_masks\.zip nor train_masks"):
        prepare_data(tmp_path / "source", ["train", "train_masks"], tmp_path / "data")


def test_files_of_the_competition_are_not_searched(tmp_path: Path) -> None:
    for place in (f"competitions/{COMPETITION}/train", "datasets/someone/wheels", "old-layout"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "model.keras").touch()
    found = [path.parent.name for path in attached_files(tmp_path, ["model.keras"])]
    assert found == ["wheels", "old-layout"]


def test_networks_are_found_by_their_content(tmp_path: Path) -> None:
    contents = {"notebooks/someone/first/runs/fast/fold-0": b"a", "datasets/someone/mine/elsewhere": b"b"}
    for place, content in contents.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "model.keras").write_bytes(content)
    digests = {
        f"fast/fold-{fold}/model.keras": hashlib.sha256(text).hexdigest()
        for fold, text in enumerate((b"a", b"b"))
    }
    found = find_networks(tmp_path, digests)
    assert [found[name].read_bytes() for name in digests] == [b"a", b"b"]
    with pytest.raises(UserError, match=r"lacks fast/fold-2/model\.keras, or holds other weights"):
        find_networks(tmp_path, digests | {"fast/fold-2/model.keras": hashlib.sha256(b"c").hexdigest()})


def test_networks_are_found_among_those_of_other_folds_and_recipes(tmp_path: Path) -> None:
    for folder in ("fast/fold-0", "fast/fold-1", "single/fold-0", "single/fold-1"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
        for name in ("model.keras", "refiner.keras"):
            (tmp_path / "runs" / folder / name).write_text(f"{name} of {folder}")
    wanted = [f"single/fold-1/{name}" for name in ("model.keras", "refiner.keras")]
    digests = {name: sha256_of_file(tmp_path / "runs" / name) for name in wanted}
    assert find_networks(tmp_path, digests) == {name: tmp_path / "runs" / name for name in wanted}


SETTINGS = SessionSettings("train", "fast", "fast", (0, 1, 2), "all", "key", 12.0, ("train",))


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The input of a second version: fold 0 is finished, fold 1 has a checkpoint, and fold 2 was not begun."""
    work = tmp_path / "work"
    for fold, names in enumerate([("model.keras", "scores.csv"), ("model.keras", "checkpoint.npz")]):
        for name in (*names, ".lock"):
            path = work / "runs" / "fast" / f"fold-{fold}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} of fold {fold}")
    inputs = tmp_path / "input"
    output = inputs / "notebooks" / "someone" / "carvana-train-fast"
    output.mkdir(parents=True)
    publish(SETTINGS, work, output, finished=False, bundle="b", machine="T4")
    return inputs


def test_an_earlier_version_is_restored(earlier: Path, tmp_path: Path) -> None:
    (output,) = (earlier / "notebooks" / "someone").iterdir()
    assert sorted(path.name for path in output.iterdir()) == ["manifest.json", "runs", "state.tar"]
    assert not (output / "runs" / "fast" / "fold-1").exists()
    work = tmp_path / "restored"
    manifest = restore_earlier(earlier, "key", work)
    assert not manifest.finished
    restored = {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()}
    assert restored == {
        *(f"runs/fast/fold-0/{name}" for name in ("model.keras", "scores.csv")),
        *(f"runs/fast/fold-1/{name}" for name in ("model.keras", "checkpoint.npz", ".lock")),
    }


def test_an_unfinished_prediction_keeps_its_shards(tmp_path: Path) -> None:
    settings = SessionSettings("predict", "fast", "fast", (0,), "all", "key", 12.0, ("test",))
    work, inputs = tmp_path / "work", tmp_path / "input"
    shard = work / "submissions" / ".fast.shards" / "00000.csv.gz"
    shard.parent.mkdir(parents=True)
    shard.write_text("masks")
    output = inputs / "carvana-predict-fast"
    output.mkdir(parents=True)
    manifest = publish(settings, work, output, finished=False, bundle="b", machine="T4")
    assert list(manifest.files) == []
    restore_earlier(inputs, "key", tmp_path / "restored")
    assert (tmp_path / "restored" / shard.relative_to(work)).read_text() == "masks"


def test_an_earlier_version_of_other_settings_or_that_was_changed(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lacks the output of the notebook's earlier version"):
        restore_earlier(earlier, "another key", tmp_path / "restored")
    (path,) = earlier.glob("**/state.tar")
    path.write_bytes(b"changed")
    with pytest.raises(UserError, match=r"state\.tar: is not the file of the manifest"):
        restore_earlier(earlier, "key", tmp_path / "restored")
    path.unlink()
    with pytest.raises(UserError, match=r"state\.tar: missing, although the manifest lists it"):
        restore_earlier(earlier, "key", tmp_path / "restored")
    next(earlier.glob(f"**/{MANIFEST}")).write_text("{")
    with pytest.raises(UserError, match="not a whole JSON file"):
        restore_earlier(earlier, "key", tmp_path / "restored")
