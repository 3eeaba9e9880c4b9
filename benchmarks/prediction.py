"""Prediction as a whole, from photos to a submission: beside the obvious loop, and beside the sum of its parts.

    ./run.sh benchmark prediction --data $CARVANA_DATA

What the network says is replaced by the mask of a real car, so that masks are as long as real ones. `none`: nothing
else is asked, to see the rest, of photos that are seen at 432x288 and at the recipe's own size. Then the recipe's
network works all the same, for its time.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import pandas as pd
import typer
from parts import obvious_photo, obvious_rle

from carvana import console, machine
from carvana.backend import keras
from carvana.competition import rle
from carvana.competition.names import ANGLES, photo_name
from carvana.data import images
from carvana.data.dataset import Sample, test_samples, train_samples
from carvana.files import write_gzipped
from carvana.inference import shards
from carvana.inference.config import PredictionConfig
from carvana.inference.contours import run_edges
from carvana.inference.ensemble import ModelEnsemble, ProbabilityMaps
from carvana.inference.pipeline import BATCH, Prediction, PreparedSample
from carvana.inference.predictors import WeightedEnsemble
from carvana.inference.records import record_maker
from carvana.models.build import build, size_spec
from carvana.recipe import read_recipe
from carvana.submission.csv_file import check_submission
from carvana.submission.predict_test import write_from_shards

TEST_CARS = 6_254


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="Whose network works, untrained.")] = "fast",
    photos: Annotated[int, typer.Option(min=4, help="How many photos take part.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is done; the median counts.")] = 3,
    full: Annotated[
        bool, typer.Option("--full", help="Also a submission of 100,064 rows, and memory at 20,000 photos.")
    ] = False,
) -> None:
    """Measure prediction as a whole, beside the obvious loop and the limit.

    Example:

        ./run.sh benchmark prediction --data $CARVANA_DATA --full
    """
    chosen = repeated(test_samples(data), photos)
    small = read_recipe(recipe)
    network = build(small)
    networks = ModelEnsemble([network], size_spec(small), tta="none")
    rows = []
    for name, size in (("none", (288, 432)), ("none", small.size), (recipe, small.size)):
        asked = name == recipe
        source = Constant(size, maps_of_cars(data, size), networks if asked else None)
        rows.append([name, *_row(chosen, source, network if asked else None, rounds)])
    console.show_table(
        f"{machine.describe_machine()}, {photos} photos, medians of {rounds} rounds, photos a second",
        ["network", "sees", "ours", "the loop", "faster", "limit", "share", "slowest stage"],
        rows,
    )
    if full:
        _memory(data)
        _submission(data)


class Constant:
    """A source that answers with the same maps in turn, after asking a network that it does not listen to."""

    def __init__(
        self, size: tuple[int, int], maps: Sequence[np.ndarray], networks: ModelEnsemble | None
    ) -> None:
        """Take the (height, width) to see photos at, maps (h, w), and networks or none."""
        self.size, self.maps, self.networks = size, maps, networks

    def prepare(self, photo: str, pixels: np.ndarray) -> np.ndarray:
        """The pixels."""
        return pixels

    def predict(self, seen: Sequence[np.ndarray]) -> ProbabilityMaps:
        """One of the maps for each photo."""
        if self.networks is not None:
            self.networks.predict(np.stack(seen))
        maps = [self.maps[number % len(self.maps)][None] for number in range(len(seen))]
        return ProbabilityMaps(maps, np.zeros(len(seen)))


def _row(photos: list[Sample], source: Constant, network: keras.Model | None, rounds: int) -> list[str]:
    our_rates, obvious_rates, limits, slowest = [], [], [], ""
    few = photos[: len(photos) // 4]
    for _ in range(rounds + 1):
        taken, slowest = ours(photos, source)
        our_rates.append(len(photos) / taken)
        obvious_rates.append(len(few) / _timed(lambda: _obvious(few, source.size, network, source.maps)))
        limits.append(_limit(few, source))
    mine, theirs, limit = (np.array(rates[1:]) for rates in (our_rates, obvious_rates, limits))
    return [
        f"{source.size[1]}x{source.size[0]}",
        *(f"{np.median(rates):,.1f}" for rates in (mine, theirs)),
        f"{np.median(mine / theirs):.1f}",
        f"{np.median(limit):,.1f}",
        f"{np.median(mine / limit):.2f}",
        slowest.removeprefix("slowest: "),
    ]


def ours(photos: list[Sample], source: Constant) -> tuple[float, str]:
    """Seconds to a submission, and the slowest stage."""
    slowest = ""

    def note(count: int, text: str) -> None:
        nonlocal slowest
        slowest = text

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        parts = shards.make_shards(photos, Path(folder) / "shards")
        shards.predict_shards(PredictionConfig((), 0.5), WeightedEnsemble((source,)), parts, note)
        write_from_shards(parts, [Path(folder) / "x.csv.gz"])
        return time.perf_counter() - began, slowest


def _obvious(
    photos: list[Sample], size: tuple[int, int], network: keras.Model | None, maps: Sequence[np.ndarray]
) -> None:
    """The loop that most repositories have: a photo at a time, all in float, a list of rows, one to_csv."""
    rows = []
    for number, photo in enumerate(photos):
        image = obvious_photo(photo.path, size).astype(np.float32) / 255
        if network is not None:
            network.predict(image[None], verbose=0)
        rows.append((photo.name, obvious_rle(maps[number % len(maps)], (1280, 1918))))
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        pd.DataFrame(rows, columns=["img", "rle_mask"]).to_csv(file.name, index=False)


def _limit(photos: list[Sample], source: Constant) -> float:
    """Photos a second if each part ran at its own best, on a core of its own, and all cores were always at work."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # or a part would take the cores of another
    make = record_maker(0.5, None)
    cores = len(os.sched_getaffinity(0))
    one_core, network = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder, write_gzipped(Path(folder) / "x.csv.gz") as text:
        for first in range(0, len(photos), BATCH):
            batch = photos[first : first + BATCH]
            began = time.perf_counter()
            read = [WeightedEnsemble((source,)).read(photo) for photo in batch]
            decoded = time.perf_counter()
            maps, _ = source.predict([views[0] for views, _ in read])
            asked = time.perf_counter()
            for photo, (views, own), one in zip(batch, read, maps, strict=True):
                row = make(Prediction(PreparedSample(photo, own, views), one, 0.0))
                text.write(f"{row.name},{row.masks[0]}\n")
            one_core += decoded - began + time.perf_counter() - asked
            network += asked - decoded
    cv2.setNumThreads(threads)
    return len(photos) / (network + one_core / cores)


def _memory(data: Path) -> None:
    """Peak memory of a whole prediction, each in a process of its own."""
    rows = []
    for count in (1_000, 20_000):
        code = [sys.executable, __file__, "--one", str(data), str(count)]
        done = subprocess.run(code, capture_output=True, text=True, check=True)
        rows.append([f"{count:,}", *done.stdout.split()])
    console.show_table("Peak memory", ["photos", "peak [MB]", "photos/s"], rows)


def one_prediction(data: Path, count: int) -> None:
    """Predict so many photos with a constant, and print the peak memory in MB and the photos a second."""
    photos = repeated(test_samples(data), count)
    taken, _ = ours(photos, Constant((288, 432), maps_of_cars(data, (288, 432)), None))
    print(f"{_peak():,.0f} {count / taken:,.1f}")


def _submission(data: Path) -> None:
    """A submission of the whole test set, from shards that are there."""
    photos = repeated(test_samples(data), TEST_CARS * ANGLES)
    texts = [
        rle.edges_to_rle(run_edges(one, (1280, 1918), 0.5)) for one in maps_of_cars(data, (288, 432), 64)
    ]
    sizes = {photo.name: (1280, 1918) for photo in photos}
    with tempfile.TemporaryDirectory() as folder:
        parts = shards.make_shards(photos, Path(folder) / "shards")
        for part in parts:
            with write_gzipped(part.path) as text:
                for number, photo in enumerate(part.photos):
                    text.write(f"{photo.name},1280,1918,0,1,0,0.0,{texts[number % len(texts)]}\n")
        path = Path(folder) / "all.csv.gz"
        written = _timed(lambda: write_from_shards(parts, [path]))
        checked = _timed(lambda: check_submission(path, sizes))
        size = path.stat().st_size / 1e6
    console.show_table(
        f"A submission of {len(photos):,} rows from {len(parts)} shards",
        ["written [s]", "checked [s]", "size [MB]", "peak memory [MB]"],
        [[f"{written:.1f}", f"{checked:.1f}", f"{size:,.0f}", f"{_peak():,.0f}"]],
        left=0,
    )


def _peak() -> float:
    """The most memory that this process took, in MB: Linux counts its parent's as its own elsewhere."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def repeated(photos: list[Sample], count: int) -> list[Sample]:
    """So many photos: the same files again and again, under the names of other cars."""
    names = (photo_name(f"{car:012x}", angle) for car in range(count) for angle in range(1, ANGLES + 1))
    return [
        Renamed(photos[number % len(photos)].path, name=name)
        for number, name in enumerate(islice(names, count))
    ]


class Renamed(Sample):
    """A photo's file under another name."""

    def __init__(self, path: Path, *, name: str) -> None:
        """Take the file and the name."""
        super().__init__(path)
        object.__setattr__(self, "own_name", name)

    @property
    def name(self) -> str:
        """The other name."""
        return self.own_name


def maps_of_cars(data: Path, size: tuple[int, int], count: int = 16) -> list[np.ndarray]:
    """ProbabilityMaps of real cars, with an edge about as soft as a network's."""
    labelled = train_samples(data)
    chosen = labelled[:: max(1, len(labelled) // count)][:count]
    masks = [images.mask_coverage(images.read_mask(photo.mask), size) for photo in chosen]
    return [cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.0) for mask in masks]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_prediction(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        console.run(benchmark)
