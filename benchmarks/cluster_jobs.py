"""What `benchmarks/cluster.py` has done, here and on workers, which import it."""

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
class Measured:
    """A job that asks a network for its time, and answers with masks of real cars."""

    folder: Path
    data: Path
    recipe: str
    title: str = "predict"

    def sees(self) -> dict[str, str]:
        """Nothing to compare."""
        return {}

    def load(self) -> tuple[PredictionConfig, WeightedEnsemble]:
        """The network, not trained, and the masks."""
        recipe = read_recipe(self.recipe)
        networks = FoldEnsemble([build(recipe)], size_spec(recipe), recipe.size)
        return PredictionConfig((), 0.5), WeightedEnsemble(
            (FixedMaps(recipe.size, maps_of_cars(self.data, recipe.size), networks),)
        )


@dataclass(frozen=True)
class NoLoad:
    """A job without anything to load."""

    folder: Path
    title: str = "nothing"

    def sees(self) -> dict[str, str]:
        """Nothing to compare."""
        return {}

    def load(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Nothing:
    """A piece that is done at once, and notes when."""

    folder: Path
    number: int
    size: int = 1

    @property
    def name(self) -> str:
        """Its number."""
        return f"nothing {self.number}"

    def done(self) -> int:
        """Of it."""
        return 0

    def do(self, loaded: None, reporter: Reporter) -> None:
        """Report, as every piece does."""
        with reporter.progress(self.name, self.size, "photos") as advance:
            advance(1)
        (self.folder / f"{self.number}.time").write_text(str(time.time()))


def between_nothings(folder: Path) -> float:
    """Seconds from one piece of nothing to the next, the median."""
    times = sorted(float(path.read_text()) for path in folder.glob("*.time"))
    return median(after - before for before, after in itertools.pairwise(times))


class Clocked(shards.Shard):
    """A shard that notes the processor's time of its process at its end."""

    def do(self, loaded: tuple[PredictionConfig, WeightedEnsemble], reporter: Reporter) -> None:
        """Predict it."""
        super().do(loaded, reporter)
        _note(self.path)


def clocked(photos: Sequence[Sample], folder: Path, size: int) -> list[Clocked]:
    """Shards of so many photos."""
    firsts = range(0, len(photos), size)
    return [
        Clocked(folder / f"{number:05d}-.csv.gz", tuple(photos[first : first + size]))
        for number, first in enumerate(firsts)
    ]


def plain_run(job: Measured, n_components: int, size: int) -> None:
    """Predict so many shards in one stream, as `predict.py` does."""
    photos = repeated(test_samples(job.data), pieces * size)
    parts, done = clocked(photos, job.folder, size), 0

    def count(more: int, note: str) -> None:
        nonlocal done
        done += more
        if done % size == 0:
            _note(parts[done // size - 1].path)

    shards.predict_shards(*job.load(), parts, count)


def piece_seconds(folder: Path) -> list[float]:
    """The processor's seconds that a shard took, the median of each process that did some.

    The first is left out, which begins with nothing, and the last: a stream works ahead, and has no next one there.
    """
    by_process: dict[int, list[float]] = {}
    for process, seconds in _notes(folder):
        by_process.setdefault(process, []).append(seconds)
    return [
        median(after - before for before, after in itertools.pairwise(ends[:-1]))
        for ends in map(sorted, by_process.values())
    ]


def start_seconds(folder: Path) -> float:
    """The processor's seconds before the first shard's first photo: imports, the network, its compilation."""
    return min(seconds for _, seconds in _notes(folder)) - min(piece_seconds(folder))


def _note(path: Path) -> None:
    path.with_name(f"{path.name}.end").write_text(f"{os.getpid()} {time.process_time()}")


def _notes(folder: Path) -> list[tuple[int, float]]:
    pairs = (path.read_text().split() for path in folder.glob("*.end"))
    return [(int(process), float(seconds)) for process, seconds in pairs]


if __name__ == "__main__":
    folder, data, recipe, pieces, size = sys.argv[1:]
    plain_run(Measured(Path(folder), Path(data), recipe), int(pieces), int(size))
