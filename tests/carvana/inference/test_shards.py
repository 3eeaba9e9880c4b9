"""Shards: what is there is not done again, and nothing tells afterwards where the work was cut."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from carvana.competition import rle
from carvana.data.dataset import Sample
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.errors import UserError
from carvana.inference import shards
from carvana.inference.config import PredictionConfig
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import WeightedEnsemble

SRC = Path(shards.__file__).parents[2]


class Red:
    """A source whose map is a photo's red."""

    size = (16, 24)

    def prepare(self, photo: str, pixels):
        return pixels

    def predict(self, seen) -> ProbabilityMaps:
        maps = [photo[None, ..., 0].astype("float32") / 255 for photo in seen]
        return ProbabilityMaps(maps, [0.25] * len(maps))


QUESTION = PredictionConfig((), 0.5)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "PHOTOS", 10)


@pytest.fixture
def photos(rendered: Path) -> list[Sample]:
    return photos_to_predict(rendered)


def _predict(photos: list[Sample], folder: Path) -> list[shards.Shard]:
    parts = shards.make_shards(photos, folder)
    shards.predict_shards(QUESTION, WeightedEnsemble((Red(),)), parts, lambda *_: None)
    return parts


def test_rows_come_back_as_they_were_made(photos: list[Sample], tmp_path: Path) -> None:
    parts = _predict(photos, tmp_path)
    assert [len(part.photos) for part in parts] == [10, 10, 10, 2]
    rows = [row for part in parts for row in shards.read_records(part)]
    assert [row.name for row in rows] == [photo.name for photo in photos]
    for row in rows:
        assert (row.height, row.width, row.disagreement) == (64, 96, 0.25)
        assert row.area == rle.decode(row.masks[0], (64, 96)).sum()


def test_a_shard_alone_is_the_same_as_among_others(photos: list[Sample], tmp_path: Path) -> None:
    """So that it may be made anywhere."""
    parts = _predict(photos, tmp_path / "all")
    for part, other in zip(parts, shards.make_shards(photos, tmp_path / "alone"), strict=True):
        shards.predict_shards(QUESTION, WeightedEnsemble((Red(),)), [other], lambda *_: None)
        assert other.path.read_bytes() == part.path.read_bytes()


def test_finished_shards_are_left_alone(photos: list[Sample], tmp_path: Path) -> None:
    parts = _predict(photos, tmp_path)
    before = {part.path: (part.path.read_bytes(), part.path.stat().st_mtime_ns) for part in parts}
    parts[1].path.unlink()
    _predict(photos, tmp_path)
    assert parts[1].path.read_bytes() == before.pop(parts[1].path)[0]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


def test_a_changed_photo_is_predicted_anew(data: Path, tmp_path: Path) -> None:
    photos = photos_to_predict(data)
    before = _predict(photos, tmp_path)
    photos[12].path.write_bytes(photos[13].path.read_bytes() + b"\0")
    after = shards.make_shards(photos, tmp_path)
    assert [shard.finished for shard in after] == [True, False, True, True]
    assert before[1].path != after[1].path


def test_a_broken_photo_keeps_the_shards_before_it(data: Path, tmp_path: Path) -> None:
    photos = photos_to_predict(data)
    photos[25].path.write_bytes(photos[25].path.read_bytes()[:500])
    with pytest.raises(UserError, match="not a whole JPEG"):
        _predict(photos, tmp_path / "shards")
    parts = shards.make_shards(photos, tmp_path / "shards")
    assert [shard.finished for shard in parts] == [True, True, False, False]
    assert sorted((tmp_path / "shards").glob("[!.]*")) == [part.path for part in parts[:2]]
    assert not list((tmp_path / "shards").glob(".part-*"))


_SLOW = """
import sys, time
sys.path[:0] = [{src!r}, {here!r}]
from pathlib import Path
import test_shards as here
here.shards.PHOTOS = 10
real = here.Red.predict
here.Red.predict = lambda self, seen: time.sleep(0.1) or real(self, seen)
here._predict(here.photos_to_predict(Path({data!r})) * 3, Path({out!r}))
"""


def test_killed_anywhere_it_ends_with_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    photos = photos_to_predict(rendered) * 3
    whole = _predict(photos, tmp_path / "whole")
    out = tmp_path / "killed"
    code = _SLOW.format(src=str(SRC), here=str(Path(__file__).parent), data=str(rendered), out=str(out))
    for kill in (1, 2):
        worker = subprocess.Popen([sys.executable, "-c", code])
        until = time.monotonic() + 60
        while len(list(out.glob("[0-9]*"))) < 2 * kill and worker.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.wait(10) == -signal.SIGKILL
    parts = _predict(photos, out)
    assert [part.path.read_bytes() for part in parts] == [part.path.read_bytes() for part in whole]
