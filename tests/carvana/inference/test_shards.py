"""Shards: finished ones are not predicted again, and an interruption leaves no trace in the files."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from tests.prediction_helpers import Red

from carvana.competition import rle
from carvana.data.dataset import Sample
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.errors import UserError
from carvana.inference import shards
from carvana.inference.config import EngineConfig, PredictionConfig
from carvana.inference.predictors import WeightedEnsemble
from carvana.inference.refinement import Refiner
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import read_recipe

SRC = Path(shards.__file__).parents[2]


CONFIG = PredictionConfig((), 0.5)
STAGES = "stages=[{size=[16, 24], epochs=1, batch_size=4, learning_rate=1e-3}]"
REFINE = "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1}"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 10)


@pytest.fixture
def photos(rendered: Path) -> list[Sample]:
    return photos_to_predict(rendered)


def _predict(photos: list[Sample], folder: Path, config: PredictionConfig = CONFIG) -> list[shards.Shard]:
    made = shards.make_shards(photos, folder)
    shards.predict_shards(config, WeightedEnsemble((Red(),)), made, lambda *_: None)
    return made


def test_records_are_read_as_they_were_made(photos: list[Sample], tmp_path: Path) -> None:
    made = _predict(photos, tmp_path)
    assert [len(shard.photos) for shard in made] == [10, 10, 10, 2]
    records = [record for shard in made for record in shards.read_records(shard)]
    assert [record.name for record in records] == [photo.name for photo in photos]
    for record in records:
        assert (record.height, record.width, record.disagreement) == (64, 96, 0.25)
        assert record.area == rle.decode(record.masks[0], (64, 96)).sum()


def test_mean_maps_are_saved_on_request(photos: list[Sample], tmp_path: Path) -> None:
    _predict(photos[:3], tmp_path / "shards", replace(CONFIG, maps_dir=tmp_path / "maps"))
    saved = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert saved == [f"{photo.path.stem}.png" for photo in photos[:3]]


def _finished(photos: list[Sample], folder: Path, config: PredictionConfig = CONFIG) -> list[bool]:
    """Resume a prediction; return which shards are finished, in order."""
    resumed = shards.resume_shards(photos, folder, config, config.fingerprint())
    return [shard.finished for shard in resumed]


def _begin(photos: list[Sample], folder: Path, config: PredictionConfig = CONFIG) -> list[shards.Shard]:
    """Predict all shards in a folder that holds their configuration."""
    assert not any(_finished(photos, folder, config))
    made = _predict(photos, folder, config)
    assert all(_finished(photos, folder, config))
    return made


def test_shards_of_another_configuration_are_discarded(photos: list[Sample], tmp_path: Path) -> None:
    made = _begin(photos, tmp_path / "shards")
    os.utime(made[0].path, (0, 0))
    assert all(_finished(photos, tmp_path / "shards"))
    assert not any(_finished(photos, tmp_path / "shards", PredictionConfig((), 0.4)))


@pytest.mark.parametrize("record", [b"", b"{", b"\xff\xfe", b"{}", b"null"])
def test_shards_with_a_damaged_record_are_discarded(
    photos: list[Sample], tmp_path: Path, record: bytes
) -> None:
    _begin(photos, tmp_path / "shards")
    (tmp_path / "shards" / "prediction.json").write_bytes(record)
    assert not any(_finished(photos, tmp_path / "shards"))


def _rewritten(lines: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    """Return a damage that changes the rows of a shard, and compresses them again."""
    return lambda content: gzip.compress(b"".join(lines(gzip.decompress(content).splitlines(keepends=True))))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-9],
        lambda content: content[:40],
        lambda content: b"garbage",
        lambda content: content[:100] + b"\xff\xff" + content[102:],
        _rewritten(lambda rows: rows[:-1]),
        _rewritten(lambda rows: rows + rows[-1:]),
        _rewritten(lambda rows: rows[::-1]),
        _rewritten(lambda rows: [row.replace(b",64,96,", b",64,") for row in rows]),
        _rewritten(lambda rows: [row.replace(b",64,96,", b",1,1,") for row in rows]),
        _rewritten(lambda rows: [row.rstrip() + b",1 1\n" for row in rows]),
        _rewritten(lambda rows: [row.rstrip() + b" 7\n" for row in rows]),
    ],
)
def test_a_damaged_shard_is_predicted_again(
    photos: list[Sample], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    made = _begin(photos, tmp_path)
    whole = made[1].path.read_bytes()
    made[1].path.write_bytes(damage(whole))
    assert _finished(photos, tmp_path) == [True, False, True, True]
    _predict(photos, tmp_path)
    assert made[1].path.read_bytes() == whole


def test_a_shard_without_its_maps_is_predicted_again(photos: list[Sample], tmp_path: Path) -> None:
    config = replace(CONFIG, maps_dir=tmp_path / "maps")
    _begin(photos, tmp_path / "shards")
    assert not any(_finished(photos, tmp_path / "shards", config))
    _predict(photos, tmp_path / "shards", config)
    (tmp_path / "maps" / f"{photos[12].path.stem}.png").unlink()
    assert _finished(photos, tmp_path / "shards", config) == [True, False, True, True]


@pytest.mark.parametrize("refines", [False, True])
def test_a_shard_alone_is_the_same_as_among_others(
    photos: list[Sample], tmp_path: Path, refines: bool
) -> None:
    """A shard may be predicted on any machine."""
    red = Red()
    if refines:
        recipe = read_recipe("miniature", [STAGES, REFINE])
        red.refiner = Refiner([build_refiner(refiner_recipe(recipe))], recipe.refine, flip=True)
    ensemble = WeightedEnsemble((red,))
    made = shards.make_shards(photos, tmp_path / "all")
    shards.predict_shards(CONFIG, ensemble, made, lambda *_: None)
    for shard, other in zip(made, shards.make_shards(photos, tmp_path / "alone"), strict=True):
        shards.predict_shards(CONFIG, ensemble, [other], lambda *_: None)
        assert other.path.read_bytes() == shard.path.read_bytes()


def _raise_missing(name: str) -> str:
    raise PackageNotFoundError(name)


def test_a_worker_without_the_engine_differs(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, engine=EngineConfig("openvino", "float32"))
    job = shards.PredictionJob(config, rendered / "test", tmp_path, "predict")
    monkeypatch.setattr(shards, "version", _raise_missing)
    assert job.fingerprint()["the engine openvino-float32"] == "not installed"


def test_shards_of_another_engine_are_discarded(photos: list[Sample], tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    _begin(photos, tmp_path)
    assert not any(_finished(photos, tmp_path, replace(CONFIG, engine=EngineConfig("openvino", "float32"))))


def test_finished_shards_are_left_alone(photos: list[Sample], tmp_path: Path) -> None:
    made = _predict(photos, tmp_path)
    before = {shard.path: (shard.path.read_bytes(), shard.path.stat().st_mtime_ns) for shard in made}
    made[1].path.unlink()
    _predict(photos, tmp_path)
    assert made[1].path.read_bytes() == before.pop(made[1].path)[0]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


def test_a_changed_photo_is_predicted_anew(data: Path, tmp_path: Path) -> None:
    photos = photos_to_predict(data)
    before = _predict(photos, tmp_path)
    content, times = bytearray(photos[12].path.read_bytes()), photos[12].path.stat()
    content[-10] ^= 1
    photos[12].path.write_bytes(content)  # of the same size and time
    os.utime(photos[12].path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = shards.make_shards(photos, tmp_path)
    assert [shard.finished for shard in after] == [True, False, True, True]
    assert before[1].path != after[1].path


def test_a_broken_photo_keeps_the_shards_before_it(data: Path, tmp_path: Path) -> None:
    photos = photos_to_predict(data)
    photos[25].path.write_bytes(photos[25].path.read_bytes()[:500])
    with pytest.raises(UserError, match="not a whole JPEG"):
        _predict(photos, tmp_path / "shards")
    made = shards.make_shards(photos, tmp_path / "shards")
    assert [shard.finished for shard in made] == [True, True, False, False]
    assert sorted((tmp_path / "shards").glob("[!.]*")) == [shard.path for shard in made[:2]]
    assert not list((tmp_path / "shards").glob(".part-*"))


_SLOW = """
import sys, time
sys.path[:0] = [{src!r}, {here!r}]
from pathlib import Path
import test_shards as here
here.shards.SHARD_SIZE = 10
real = here.Red.predict
here.Red.predict = lambda self, inputs: time.sleep(0.1) or real(self, inputs)
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
    made = _predict(photos, out)
    assert [shard.path.read_bytes() for shard in made] == [shard.path.read_bytes() for shard in whole]
