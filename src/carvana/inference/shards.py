"""Prediction in shards of a few hundred photos, each written as one file that is complete or absent.

A finished shard is not predicted again, so that an interrupted prediction resumes. Batches end where shards end, so
that a shard's file depends neither on the other shards nor on the machine that predicts it.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from pathlib import Path
from typing import Any, TextIO

from carvana import console
from carvana.competition import rle
from carvana.console import ProgressCallback, Reporter
from carvana.data.dataset import Sample, content_digest, fingerprint
from carvana.data.prefetch import CORES
from carvana.data.timing import PipelineTimer
from carvana.files import atomic_path, read_gzipped, sha256_of_text, write_gzipped
from carvana.inference.config import EngineConfig, PredictionConfig
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import WeightedEnsemble, map_path, save_map
from carvana.inference.records import PredictionRecord, make_record
from carvana.locks import file_lock

SHARD_SIZE = 512
"""Photos per shard: seconds to minutes of work, the most that an interruption costs."""

FIELDS = PredictionRecord._fields[:-1]
"""The columns of a shard before its masks."""


@dataclass(frozen=True)
class Shard:
    """Photos, and the file of their records; a task as defined in `carvana.tasks`."""

    path: Path
    photos: tuple[Sample, ...]

    @property
    def finished(self) -> bool:
        """True if the file exists; it is complete or absent."""
        return self.path.is_file()

    @property
    def lock(self) -> Path:
        """Lock file of the process that writes the shard."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def name(self) -> str:
        """The shard's name with its number."""
        return f"shard {self.path.name.partition('-')[0]}"

    @property
    def n_samples(self) -> int:
        """Number of photos."""
        return len(self.photos)

    def completed(self) -> int:
        """Return 0: a shard has no intermediate state."""
        return 0

    def execute(self, loaded: tuple[PredictionConfig, WeightedEnsemble], reporter: Reporter) -> None:
        """Predict the shard with what `PredictionJob.load` returned."""
        with reporter.progress(self.name, self.n_samples, "photos") as advance:
            predict_shards(*loaded, [self], advance, reporter)


@dataclass(frozen=True)
class PredictionJob:
    """Configuration that the shards of a prediction share; a job as defined in `carvana.tasks`."""

    config: PredictionConfig
    photos: Path
    """The folder of the photos."""
    folder: Path
    """The folder of the shards."""
    title: str

    def fingerprint(self) -> dict[str, str]:
        """Return fingerprints of the photos, of the members' weights or maps, and of the engine, by description."""
        members = {member.name: json.dumps(member.fingerprint()) for member in self.config.members}
        return {
            f"the photos of {self.photos}": fingerprint(self.photos.parent, [self.photos.name]),
            **{f"the weights of {name}": _short_digest(text) for name, text in members.items()},
            f"the engine {self.config.engine.name}": _engine_support(self.config.engine),
        }

    def load(self) -> tuple[PredictionConfig, WeightedEnsemble]:
        """Load the networks."""
        return self.config, WeightedEnsemble.load(self.config)


def make_shards(photos: Sequence[Sample], folder: Path) -> list[Shard]:
    """Split photos, in order, into shards with files in `folder`.

    A digest of the photos is part of a file's name: a shard whose photos changed gets another file name.
    """
    groups = [tuple(photos[first : first + SHARD_SIZE]) for first in range(0, len(photos), SHARD_SIZE)]
    return [
        Shard(folder / f"{number:05d}-{content_digest(photo.path for photo in group)[:12]}.csv.gz", group)
        for number, group in enumerate(groups)
    ]


def resume_shards(
    photos: Sequence[Sample], folder: Path, config: PredictionConfig, fingerprint: Mapping[str, Any]
) -> list[Shard]:
    """Make the shards of a prediction, and delete the files in `folder` that it cannot continue with.

    These are the files that another configuration predicted, damaged shards, and shards without their saved maps.

    Args:
        photos: the photos to predict, in order.
        folder: the folder of the shards.
        config: the prediction.
        fingerprint: the configuration's `fingerprint`, which is recorded in the folder.
    """
    record = folder / "prediction.json"
    text = json.dumps({**fingerprint, "saves_maps": config.maps_dir is not None}, indent=2)
    if not (record.is_file() and record.read_bytes() == text.encode()):
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_path(record) as part:
            part.write_text(text)
    shards = make_shards(photos, folder)
    for shard in shards:
        if shard.finished and not (_is_valid(shard, config) and _has_maps(shard, config)):
            shard.path.unlink()
    return shards


def predict_shards(
    config: PredictionConfig,
    ensemble: WeightedEnsemble,
    shards: Sequence[Shard],
    advance: ProgressCallback,
    reporter: Reporter = console,
) -> None:
    """Predict the shards that are not finished, in one stream.

    Args:
        config: threshold and outputs.
        ensemble: the networks of `config`.
        shards: the shards; finished ones are left alone.
        advance: called for each photo, with a note on the slowest step.
        reporter: gets a message while another process holds a shard's lock.
    """
    pending = [shard for shard in shards if not shard.finished]
    shard_ends = set(accumulate(shard.n_samples for shard in pending))
    threshold, maps_dir, timer = config.effective_threshold, config.maps_dir, PipelineTimer()

    def finish(prediction: Prediction) -> PredictionRecord:
        if maps_dir is not None:
            save_map(map_path(maps_dir, prediction.sample.name), prediction.maps[0])
        return make_record(prediction, threshold)

    records = predict_stream(
        ensemble,
        (photo for shard in pending for photo in shard.photos),
        finish,
        timer=timer,
        # A record takes many short numpy calls that hold Python's global lock: a second thread makes them no faster
        # and takes a core from decoding. Writing a map is one long call that releases the lock.
        finish_workers=CORES if maps_dir else 1,
        batch_ends=lambda count: count in shard_ends,
    )
    for shard in pending:
        with file_lock(shard.lock, reporter), write_gzipped(shard.path) as text:
            write = timer.measured("writing", partial(_write_line, text))
            for _ in shard.photos:
                write(next(records))
                advance(1, timer.bottleneck())


def read_records(shard: Shard) -> Iterator[PredictionRecord]:
    """Read the records of a finished shard, in the order of its photos; `resume_shards` has checked the file."""
    with read_gzipped(shard.path) as text:
        for line in text:
            yield _parse_line(line)


def _write_line(text: TextIO, record: PredictionRecord) -> None:
    *fields, masks = record
    text.write(",".join([*map(str, fields), *masks]) + "\n")


def _parse_line(line: str) -> PredictionRecord:
    name, height, width, area, n_components, second_area, disagreement, masks = line.rstrip("\n").split(
        ",", len(FIELDS)
    )
    return PredictionRecord(
        name,
        int(height),
        int(width),
        int(area),
        int(n_components),
        int(second_area),
        float(disagreement),
        tuple(masks.split(",")),
    )


def _is_valid(shard: Shard, config: PredictionConfig) -> bool:
    """Return whether the file of a shard holds a record of each of its photos, with masks that lie within them."""
    n_masks = 1 + len(config.members[0].runs) if config.per_fold else 1
    try:
        for photo, record in zip(shard.photos, read_records(shard), strict=True):
            if record.name != photo.name or len(record.masks) != n_masks:
                return False
            for mask in record.masks:
                rle.check_bounds(*rle.parse_runs(mask), (record.height, record.width))
    except Exception:  # a damaged file raises errors of almost any type, and is predicted again
        return False
    return True


def _has_maps(shard: Shard, config: PredictionConfig) -> bool:
    """Return whether the maps of a shard's photos exist, if the prediction saves maps."""
    folder = config.maps_dir
    return folder is None or all(map_path(folder, photo.name).is_file() for photo in shard.photos)


def _engine_support(engine: EngineConfig) -> str:
    """Return the version of an engine's library on this machine, or why the engine cannot be used here."""
    try:
        installed = version(engine.library)
    except PackageNotFoundError:
        return "not installed"
    if engine.library == "openvino":
        from carvana.inference.openvino_engine import supported_precisions  # not installed on every machine

        if engine.precision not in supported_precisions():
            return "not supported by the processor"
    return installed


def _short_digest(text: str) -> str:
    return sha256_of_text(text)[:12]
