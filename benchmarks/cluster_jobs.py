"""Jobs and tasks of `benchmarks/cluster.py`; workers import this module, too."""

import itertools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from prediction import FixedMaps, maps_of_cars, repeated

from carvana.console import Reporter
from carvana.data.dataset import Sample, test_samples
from carvana.inference import shards
from carvana.inference.config import PredictionConfig
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.models.build import build, size_spec
from carvana.recipe import read_recipe


@dataclass(frozen=True)
class PredictionBenchmarkJob:
    """A job that runs an untrained network, for its time, and then takes the masks of real cars as its result."""

    folder: Path
    data: Path
    recipe: str
    title: str = "predict"

    def fingerprint(self) -> dict[str, str]:
        """Return nothing to compare."""
        return {}

    def load(self) -> tuple[PredictionConfig, WeightedEnsemble]:
        """Build the network and read the masks."""
        recipe = read_recipe(self.recipe)
        if recipe.precision == "auto":  # measuring it would add to the measured start of a worker
            recipe = recipe.model_copy(update={"precision": "mixed_bfloat16"})
        networks = FoldEnsemble([build(recipe)], size_spec(recipe), recipe.size)
        return PredictionConfig((), 0.5), WeightedEnsemble(
            (FixedMaps(recipe.size, maps_of_cars(self.data, recipe.size), networks),)
        )


@dataclass(frozen=True)
class EmptyJob:
    """A job that loads nothing."""

    folder: Path
    title: str = "empty tasks"

    def fingerprint(self) -> dict[str, str]:
        """Return nothing to compare."""
        return {}

    def load(self) -> None:
        """Load nothing."""


@dataclass(frozen=True)
class EmptyTask:
    """A task that ends at once, and writes the time at which it did."""

    folder: Path
    number: int
    n_samples: int = 1

    @property
    def name(self) -> str:
        """Name with the number."""
        return f"empty {self.number}"

    def completed(self) -> int:
        """Return 0."""
        return 0

    def execute(self, loaded: None, reporter: Reporter) -> None:
        """Report progress, as every task does."""
        with reporter.progress(self.name, self.n_samples, "photos") as advance:
            advance(1)
        (self.folder / f"{self.number}.time").write_text(str(time.time()))


def seconds_per_empty_task(folder: Path) -> float:
    """Return the median time from the end of one empty task to the end of the next, in seconds."""
    times = sorted(float(path.read_text()) for path in folder.glob("*.time"))
    return median(after - before for before, after in itertools.pairwise(times))


class TimedShard(shards.Shard):
    """A shard that writes the CPU time of its process when it is finished."""

    def execute(self, loaded: tuple[PredictionConfig, WeightedEnsemble], reporter: Reporter) -> None:
        """Predict the shard."""
        super().execute(loaded, reporter)
        _write_cpu_time(self.path)


def timed_shards(photos: Sequence[Sample], folder: Path, size: int) -> list[TimedShard]:
    """Make shards of `size` photos each."""
    firsts = range(0, len(photos), size)
    return [
        TimedShard(folder / f"{number:05d}-.csv.gz", tuple(photos[first : first + size]))
        for number, first in enumerate(firsts)
    ]


def predict_without_cluster(job: PredictionBenchmarkJob, n_shards: int, size: int) -> None:
    """Predict shards of `size` photos in one stream, as `predict.py` does."""
    photos = repeated(test_samples(job.data), n_shards * size)
    parts, done = timed_shards(photos, job.folder, size), 0

    def advance(more: int = 1, note: str | None = None) -> None:
        nonlocal done
        done += more
        if done % size == 0:
            _write_cpu_time(parts[done // size - 1].path)

    shards.predict_shards(*job.load(), parts, advance)


def shard_seconds(folder: Path) -> list[float]:
    """Return for each process the median CPU time of its shards, in seconds.

    The first shard is left out, because it includes the start, and the last, because nothing is prepared beside it.
    """
    by_process: dict[int, list[float]] = {}
    for process, seconds in _read_cpu_times(folder):
        by_process.setdefault(process, []).append(seconds)
    return [
        median(after - before for before, after in itertools.pairwise(ends[:-1]))
        for ends in map(sorted, by_process.values())
    ]


def start_seconds(folder: Path) -> float:
    """Return the CPU time before the first photo, in seconds: imports, the network, its compilation."""
    return min(seconds for _, seconds in _read_cpu_times(folder)) - min(shard_seconds(folder))


def _write_cpu_time(path: Path) -> None:
    path.with_name(f"{path.name}.end").write_text(f"{os.getpid()} {time.process_time()}")


def _read_cpu_times(folder: Path) -> list[tuple[int, float]]:
    pairs = (path.read_text().split() for path in folder.glob("*.end"))
    return [(int(process), float(seconds)) for process, seconds in pairs]


if __name__ == "__main__":
    folder, data, recipe, n_shards, size = sys.argv[1:]
    predict_without_cluster(
        PredictionBenchmarkJob(Path(folder), Path(data), recipe), int(n_shards), int(size)
    )
