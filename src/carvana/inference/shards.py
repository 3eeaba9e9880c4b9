"""Prediction in shards: a few hundred photos each, in one file each that is written whole.

What is there is not done again, so that a prediction that was killed goes on. Batches end where shards do, and
so a shard's file is the same whatever else is predicted before or after it, or where.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from carvana import console
from carvana.console import ProgressCallback, Reporter
from carvana.data.dataset import Sample, fingerprint
from carvana.data.prefetch import CORES
from carvana.data.timing import PipelineTimer
from carvana.files import read_gzipped, write_gzipped
from carvana.inference.config import PredictionConfig
from carvana.inference.pipeline import predict_stream
from carvana.inference.predictors import WeightedEnsemble
from carvana.inference.records import PredictionRecord, record_maker
from carvana.locks import file_lock

PHOTOS = 512
"""Of a shard: seconds to minutes of work, which is what a kill costs at most."""

FIELDS = PredictionRecord._fields[:-1]
"""The columns of a shard before its masks."""

_TYPES = [PredictionRecord.__annotations__[name] for name in FIELDS]


@dataclass(frozen=True)
class Shard:
    """Photos, and the file that holds their rows once they are predicted: a piece, as `carvana.tasks` has it."""

    path: Path
    photos: tuple[Sample, ...]

    @property
    def finished(self) -> bool:
        """Whether its file is there."""
        return self.path.is_file()

    @property
    def lock(self) -> Path:
        """Held by the process that writes it."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def name(self) -> str:
        """Its number."""
        return f"shard {self.path.name.partition('-')[0]}"

    @property
    def n_samples(self) -> int:
        """Photos."""
        return len(self.photos)

    def completed(self) -> int:
        """None: a shard is there whole or not at all."""
        return 0

    def execute(self, loaded: tuple[PredictionConfig, WeightedEnsemble], reporter: Reporter) -> None:
        """Predict it, as what `PredictionJob` loads is asked."""
        with reporter.progress(self.name, self.n_samples, "photos") as advance:
            predict_shards(*loaded, [self], advance, reporter)


@dataclass(frozen=True)
class PredictionJob:
    """What shards have in common, as `carvana.tasks` has it."""

    config: PredictionConfig
    photos: Path
    """The folder they lie in."""
    folder: Path
    """That the shards are written to."""
    title: str

    def fingerprint(self) -> dict[str, str]:
        """The photos, and the networks or maps that are asked."""
        asked = {part.name: json.dumps(part.fingerprint()) for part in self.config.members}
        return {
            f"the photos of {self.photos}": fingerprint(self.photos.parent, [self.photos.name]),
            **{f"the weights of {name}": _digest(text) for name, text in asked.items()},
        }

    def load(self) -> tuple[PredictionConfig, WeightedEnsemble]:
        """The networks."""
        return self.config, self.config.load()


def make_shards(photos: Sequence[Sample], folder: Path) -> list[Shard]:
    """Deal photos, in order, to shards whose files lie in a folder; a photo that changed is another shard's."""
    groups = [tuple(photos[first : first + PHOTOS]) for first in range(0, len(photos), PHOTOS)]
    return [
        Shard(folder / f"{number:05d}-{_named(group)}.csv.gz", group) for number, group in enumerate(groups)
    ]


def predict_shards(
    config: PredictionConfig,
    blend: WeightedEnsemble,
    shards: Sequence[Shard],
    advance: ProgressCallback,
    reporter: Reporter = console,
) -> None:
    """Predict the shards that are not there yet, in one stream.

    One shard needs no other, and its file does not depend on which others are given.

    Args:
        config: how photos are asked, and what is kept of the answers.
        blend: the config's, loaded.
        shards: to predict; those that are finished are left alone.
        advance: told of each photo, with a note on the slowest stage.
        reporter: where to say that another process writes one of them.
    """
    left = [shard for shard in shards if not shard.finished]
    stages = PipelineTimer()
    rows = predict_stream(
        blend,
        (photo for shard in left for photo in shard.photos),
        record_maker(config.threshold, config.maps_dir),
        stages=stages,
        # A row is many short numpy calls, for each of which threads queue at Python's lock: two make nothing faster,
        # and take the cores from decoding. Writing a map is one long call without it.
        finishers=CORES if config.maps_dir else 1,
        batch_ends=set(accumulate(len(shard.photos) for shard in left)).__contains__,
    )
    for shard in left:
        with file_lock(shard.lock, reporter), write_gzipped(shard.path) as text:
            write = stages.timed("writing", lambda row, text=text: text.write(_line(row)))
            for _ in shard.photos:
                write(next(rows))
                advance(1, stages.slowest())


def read_records(shard: Shard) -> Iterator[PredictionRecord]:
    """The rows of a finished shard, in the order of its photos."""
    with read_gzipped(shard.path) as text:
        for line in text:
            *facts, masks = line.rstrip("\n").split(",", len(FIELDS))
            values = [kind(fact) for kind, fact in zip(_TYPES, facts, strict=True)]
            yield PredictionRecord(*values, tuple(masks.split(",")))


def _line(row: PredictionRecord) -> str:
    *facts, masks = row
    return ",".join([*map(str, facts), *masks]) + "\n"


def _named(photos: Sequence[Sample]) -> str:
    listed = "\n".join(f"{photo.name} {photo.path.stat().st_size}" for photo in photos)
    return _digest(listed)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
