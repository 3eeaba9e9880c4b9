"""Prediction of test photos into a submission, compared with the obvious loop and with the sum of its parts.

    ./run.sh benchmark prediction --data $CARVANA_DATA

The network's maps are replaced by masks of real cars, so that masks are as long as real ones. The rows `none` run no
network, to measure everything else, with photos at 432x288 and at the recipe's own size. The last row also runs the
recipe's network, for its time only; with `[refine]`, one more row also refines the masks' contours.
"""

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
import joblib
import numpy as np
import pandas as pd
import typer
from parts import obvious_photo, obvious_rle

from carvana import commandline, console, machine
from carvana.backend import keras
from carvana.competition import rle
from carvana.competition.names import ANGLES, photo_name
from carvana.data import images
from carvana.data.dataset import Sample, test_samples, train_samples
from carvana.data.prefetch import CORES
from carvana.files import write_gzipped
from carvana.inference import shards
from carvana.inference.config import PredictionConfig
from carvana.inference.contours import run_edges
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.pipeline import BATCH_SIZE, Prediction, prepare
from carvana.inference.predictors import FoldEnsemble, Predictor, WeightedEnsemble
from carvana.inference.records import make_record
from carvana.inference.refinement import Refiner
from carvana.models.build import build, size_spec
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import read_recipe
from carvana.submission.csv_file import check_submission
from carvana.submission.predict_test import write_from_shards
from carvana.training.precision import with_faster_precision

TEST_CARS = 6_254
"""Cars of the competition's test set."""


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="The recipe whose network is timed, untrained.")] = "fast",
    photos: Annotated[int, typer.Option(min=4, help="Number of photos.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 3,
    full: Annotated[
        bool, typer.Option("--full", help="Also a submission of 100,064 rows, and memory at 20,000 photos.")
    ] = False,
) -> None:
    """Measure prediction as a whole, compared with the obvious loop and the limit.

    Example:

        ./run.sh benchmark prediction --data $CARVANA_DATA --full
    """
    chosen = repeated(test_samples(data), photos)
    spec = with_faster_precision(read_recipe(recipe))
    network = build(spec)
    folds = FoldEnsemble([network], size_spec(spec), spec.size, tta="none")
    rows = []
    for name, size in (("none", (288, 432)), ("none", spec.size), (recipe, spec.size)):
        is_run = name == recipe
        predictor = FixedMaps(size, maps_of_cars(data, size), folds if is_run else None)
        rows.append([name, *_row(chosen, predictor, network if is_run else None, rounds)])
    if spec.refine:
        refiner = Refiner([build_refiner(refiner_recipe(spec))], spec.refine, flip=False)
        predictor = FixedMaps(spec.size, maps_of_cars(data, spec.size), folds, refiner)
        rows.append(["+ refinement", *_refined_row(chosen, predictor, rounds)])
    console.show_table(
        f"{machine.describe_machine()}, {photos} photos, medians of {rounds} rounds, photos a second",
        ["network", "size", "ours", "loop", "speedup", "limit", "share", "slowest step"],
        rows,
    )
    if full:
        _memory(data)
        _submission(data)


class FixedMaps:
    """A predictor that returns fixed maps by turns; networks may run for their time, but their maps are dropped."""

    any_size = False

    def __init__(
        self,
        size: tuple[int, int],
        maps: Sequence[np.ndarray],
        networks: FoldEnsemble | None,
        refiner: Refiner | None = None,
    ) -> None:
        """Initialize with the photos' (height, width), maps (h, w), and networks or None."""
        self.size, self.maps, self.networks, self.refiner = size, maps, networks, refiner

    def prepare(self, photo: str, pixels: np.ndarray | None) -> np.ndarray:
        """Return the pixels unchanged."""
        assert pixels is not None
        return pixels

    def predict(self, inputs: Sequence[np.ndarray]) -> ProbabilityMaps:
        """Return one of the maps for each photo."""
        if self.networks is not None:
            self.networks.predict(inputs)
        maps = [self.maps[number % len(self.maps)][None] for number in range(len(inputs))]
        return ProbabilityMaps(np.stack(maps), np.zeros(len(inputs)))


def _row(photos: list[Sample], predictor: FixedMaps, network: keras.Model | None, rounds: int) -> list[str]:
    our_rates, loop_rates, limits, bottleneck = [], [], [], ""
    few = photos[: len(photos) // 4]
    for _ in range(rounds + 1):
        seconds, bottleneck = time_prediction(photos, predictor)
        our_rates.append(len(photos) / seconds)
        loop_rates.append(
            len(few) / _timed(lambda: obvious_prediction(few, predictor.size, network, predictor.maps))
        )
        limits.append(_limit(few, predictor))
    ours, loop, limit = (np.array(rates[1:]) for rates in (our_rates, loop_rates, limits))
    return [
        f"{predictor.size[1]}x{predictor.size[0]}",
        *(f"{np.median(rates):,.1f}" for rates in (ours, loop)),
        f"{np.median(ours / loop):.1f}",
        f"{np.median(limit):,.1f}",
        f"{np.median(ours / limit):.2f}",
        bottleneck,
    ]


def _refined_row(photos: list[Sample], predictor: FixedMaps, rounds: int) -> list[str]:
    """Return the cells of a prediction with refinement, which the loop and the limit do not have."""
    timed = [time_prediction(photos, predictor) for _ in range(rounds + 1)][1:]
    rate = np.median([len(photos) / seconds for seconds, _ in timed])
    return [f"{predictor.size[1]}x{predictor.size[0]}", f"{rate:,.1f}", "", "", "", "", timed[-1][1]]


def time_prediction(photos: list[Sample], predictor: Predictor) -> tuple[float, str]:
    """Predict photos into a submission, and return the seconds and the slowest step."""
    bottleneck = ""

    def note(count: int, text: str) -> None:
        nonlocal bottleneck
        bottleneck = text.removeprefix("slowest: ")

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        made = shards.make_shards(photos, Path(folder) / "shards")
        shards.predict_shards(PredictionConfig((), 0.5), WeightedEnsemble((predictor,)), made, note)
        write_from_shards(made, [Path(folder) / "x.csv.gz"])
        return time.perf_counter() - began, bottleneck


def obvious_prediction(
    photos: list[Sample], size: tuple[int, int], network: keras.Model | None, maps: Sequence[np.ndarray]
) -> None:
    """Predict as most repositories do: one photo at a time, all in float, a list of rows, one to_csv."""
    rows = []
    for number, photo in enumerate(photos):
        image = obvious_photo(photo.path, size).astype(np.float32) / 255
        if network is not None:
            network.predict(image[None], verbose=0)
        rows.append((photo.name, obvious_rle(maps[number % len(maps)], (1280, 1918))))
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        pd.DataFrame(rows, columns=["img", "rle_mask"]).to_csv(file.name, index=False)


def _limit(photos: list[Sample], predictor: FixedMaps) -> float:
    """Return the photos per second if the network's time and all else, divided evenly among the cores, are added.

    The network has all cores to itself. All else is done by one process per core, which share nothing, at the same
    time. A pipeline may be faster, if one does its work in moments in which the other leaves a core idle.
    """
    ensemble, network = WeightedEnsemble((predictor,)), 0.0
    for first in range(0, len(photos), BATCH_SIZE):
        inputs = [prepare(ensemble, photo).inputs[0] for photo in photos[first : first + BATCH_SIZE]]
        network += _timed(lambda inputs=inputs: predictor.predict(inputs))
    alone = FixedMaps(predictor.size, predictor.maps, None)
    with joblib.Parallel(n_jobs=CORES) as processes:
        for _ in range(2):  # the first time starts the processes, and imports
            seconds = processes(joblib.delayed(_seconds_of_all_else)(photos, alone) for _ in range(CORES))
    return len(photos) / (network + np.mean(seconds) / CORES)  # each process has done all photos


def _seconds_of_all_else(photos: list[Sample], predictor: FixedMaps) -> float:
    """Decode photos and write the masks of fixed maps, one after the other on one core; return the time."""
    cv2.setNumThreads(1)
    began = time.perf_counter()
    ensemble = WeightedEnsemble((predictor,))
    with tempfile.TemporaryDirectory() as folder, write_gzipped(Path(folder) / "x.csv.gz") as text:
        for number, photo in enumerate(photos):
            sample = prepare(ensemble, photo)
            maps = predictor.maps[number % len(predictor.maps)][None]
            record = make_record(Prediction(sample.sample, sample.photo_size, maps, 0.0), 0.5)
            text.write(f"{record.name},{record.masks[0]}\n")
    return time.perf_counter() - began


def _memory(data: Path) -> None:
    """Print the peak memory of whole predictions, each in a process of its own."""
    rows = []
    for count in (1_000, 20_000):
        code = [sys.executable, __file__, "--one", str(data), str(count)]
        done = subprocess.run(code, capture_output=True, text=True, check=True)
        rows.append([f"{count:,}", *done.stdout.split()])
    console.show_table("Peak memory", ["photos", "peak [MB]", "photos/s"], rows)


def one_prediction(data: Path, count: int) -> None:
    """Predict `count` photos with fixed maps, and print the peak memory in MB and the photos per second."""
    photos = repeated(test_samples(data), count)
    seconds, _ = time_prediction(photos, FixedMaps((288, 432), maps_of_cars(data, (288, 432)), None))
    print(f"{_peak():,.0f} {count / seconds:,.1f}")


def _submission(data: Path) -> None:
    """Print the time to write and check a submission of the whole test set from finished shards."""
    photos = repeated(test_samples(data), TEST_CARS * ANGLES)
    texts = [
        rle.edges_to_rle(run_edges(one, (1280, 1918), 0.5)) for one in maps_of_cars(data, (288, 432), 64)
    ]
    sizes = {photo.name: (1280, 1918) for photo in photos}
    with tempfile.TemporaryDirectory() as folder:
        made = shards.make_shards(photos, Path(folder) / "shards")
        for shard in made:
            with write_gzipped(shard.path) as text:
                for number, photo in enumerate(shard.photos):
                    text.write(f"{photo.name},1280,1918,0,1,0,0.0,{texts[number % len(texts)]}\n")
        path = Path(folder) / "all.csv.gz"
        written = _timed(lambda: write_from_shards(made, [path]))
        checked = _timed(lambda: check_submission(path, sizes))
        size = path.stat().st_size / 1e6
    console.show_table(
        f"A submission of {len(photos):,} rows from {len(made)} shards",
        ["written [s]", "checked [s]", "size [MB]", "peak memory [MB]"],
        [[f"{written:.1f}", f"{checked:.1f}", f"{size:,.0f}", f"{_peak():,.0f}"]],
        left=0,
    )


def _peak() -> float:
    """Return this process's peak memory in MB; elsewhere Linux includes that of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def repeated(photos: list[Sample], count: int) -> list[Sample]:
    """Return `count` photos: the same files by turns, under the names of other cars."""
    names = (photo_name(f"{car:012x}", angle) for car in range(count) for angle in range(1, ANGLES + 1))
    return [
        Renamed(photos[number % len(photos)].path, name=name)
        for number, name in enumerate(islice(names, count))
    ]


class Renamed(Sample):
    """A photo's file under another name."""

    def __init__(self, path: Path, *, name: str) -> None:
        """Initialize with the file and the name."""
        super().__init__(path)
        object.__setattr__(self, "own_name", name)

    @property
    def name(self) -> str:
        """The name."""
        return self.own_name


def maps_of_cars(data: Path, size: tuple[int, int], count: int = 16) -> list[np.ndarray]:
    """Return maps of real cars, with contours about as soft as a network's."""
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
        commandline.run(benchmark)
