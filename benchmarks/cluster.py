"""Prediction on a Dask cluster, a core a worker: beside the plain run on one core, and what a piece costs on the way.

    ./run.sh benchmark cluster --data $CARVANA_DATA

As in `benchmarks/prediction.py`, a network works for its time, and masks of real cars stand for its answers. A worker
fills its core, so that its seconds are the processor's: other work on the machine does not count. The figures go to
`benchmarks/cluster.toml`, from which `benchmarks/scale_model.py` computes what more machines would do.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import cluster_jobs
import psutil
import tomli_w
import typer
from cluster_jobs import (
    Measured,
    NoLoad,
    Nothing,
    between_nothings,
    clocked,
    piece_seconds,
    start_seconds,
)
from prediction import repeated

from carvana import console
from carvana.cluster.executor import crew_at
from carvana.data.dataset import Sample, test_samples
from carvana.inference.shards import SHARD_SIZE, Shard
from carvana.submission.csv_file import check_submission
from carvana.submission.predict_test import write_from_shards
from carvana.tasks import Job, Piece

HERE = Path(__file__).parent
Cluster = tuple[str, psutil.Process]
"""A scheduler's address, and its process."""

EMPTY = 200
"""Pieces of nothing that are handed out, to see what handing out costs."""


def benchmark(
    data: Annotated[Path, typer.Option(resolve_path=True, help="A folder of the competition's form.")] = Path(
        "data"
    ),
    recipe: Annotated[str, typer.Option(help="Of the network.")] = "fast",
    rounds: Annotated[int, typer.Option(min=1, help="How often all of it is done; the median counts.")] = 3,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = HERE / "cluster.toml",
) -> None:
    """Measure prediction on one and two workers beside the plain run.

    Example:

        ./run.sh benchmark cluster --data $CARVANA_DATA
    """
    photos = test_samples(data)
    real = []
    with _cluster(1) as one, _cluster(2) as two:
        hand_outs = [_empty(*one) for _ in range(rounds)]
        for _ in range(rounds):
            real.append(_round(data, recipe, 4, 256, one, two))
    hand_out, scheduler_s = (median(each) for each in zip(*hand_outs, strict=True))
    plain_s, one_s = median(one.plain_s for one in real), median(one.one_s for one in real) + hand_out
    figures = {
        "task_photos": SHARD_SIZE,
        "plain_photos_per_s": round(256 / plain_s, 2),
        "one_worker_photos_per_s": round(256 / one_s, 2),
        "two_workers_photos_per_s": round(sum(256 / (each + hand_out) for each in _medians(real)), 2),
        "task_overhead_s": round((one_s - plain_s) * SHARD_SIZE / 256, 4),
        "start_s": round(median(one.start_s for one in real), 1),
        "submit_s": round(hand_out, 4),
        "scheduler_s_per_task": round(scheduler_s, 4),
        "scheduler_share_per_worker": round(median(one.scheduler for one in real), 4),
        "photo_bytes": round(sum(photo.path.stat().st_size for photo in photos) / len(photos)),
        "row_bytes": round(median(one.row_bytes for one in real)),
        "storage_bytes_per_s": round(median(_storage(photos) for _ in range(rounds))),
        "writer_photos_per_s": round(median(one.writer for one in real)),
    }
    out.write_text(f"# Recipe {recipe}, a core a worker.\n" + tomli_w.dumps(figures))
    _show(figures, recipe)


@dataclass(frozen=True)
class Round:
    """What was measured once: the processor's seconds of a shard, and what came with it."""

    plain_s: float
    one_s: float
    two_s: list[float]
    """Of each of two workers."""
    start_s: float
    """Until a worker's first photo, its own start included."""
    scheduler: float
    """Of a core, 0..1, that a scheduler took for a worker."""
    row_bytes: float
    writer: float
    """Photos a second from finished shards to a checked submission."""


def _round(data: Path, recipe: str, pieces: int, size: int, one: Cluster, two: Cluster) -> Round:
    photos = repeated(test_samples(data), 2 * pieces * size)
    with tempfile.TemporaryDirectory() as name:
        alone, single, double = (Path(name) / part for part in ("alone", "single", "double"))
        command = [
            sys.executable,
            cluster_jobs.__file__,
            *map(str, (alone, data, recipe, pieces, size)),
        ]
        subprocess.run(["taskset", "-c", "0", *command], check=True)
        half = clocked(photos[: pieces * size], single, size)
        _timed(*one, Measured(single, data, recipe), half)
        whole = clocked(photos, double, size)
        seconds, scheduler_s = _timed(*two, Measured(double, data, recipe), whole)
        (alone_s,), (single_s,) = piece_seconds(alone), piece_seconds(single)
        start = start_seconds(alone)
        return Round(
            alone_s,
            single_s,
            piece_seconds(double),
            start,
            scheduler_s / seconds / 2,
            *_writer(double, whole),
        )


def _medians(rounds: Sequence[Round]) -> list[float]:
    """The seconds of a shard on each of two workers."""
    return [median(each) for each in zip(*(one.two_s for one in rounds), strict=True)]


def _show(figures: dict[str, float], recipe: str) -> None:
    ways = {
        "plain run, one core": "plain",
        "1 worker, one core": "one_worker",
        "2 workers, a core each": "two_workers",
    }
    rows = [[way, f"{figures[f'{name}_photos_s']:.2f}"] for way, name in ways.items()]
    console.show_table(f"Prediction with `{recipe}`", ["where", "photos/s"], rows)
    overhead, piece = figures["task_overhead_s"], figures["task_photos"] / figures["plain_photos_per_s"]
    console.message(f"a piece takes {overhead:.2f} s more on a worker: {overhead / piece:.1%}")
    rows = [[name.replace("_", " "), f"{value:,}"] for name, value in figures.items()]
    console.show_table("What it is made of", ["figure", "value"], rows)


def _empty(address: str, scheduler: psutil.Process) -> tuple[float, float]:
    """Seconds that handing out a piece takes, and those of the scheduler's processor in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pieces = [Nothing(folder, number) for number in range(EMPTY)]
        _, scheduler_s = _timed(address, scheduler, NoLoad(folder), pieces)
        return between_nothings(folder), scheduler_s / EMPTY


def _timed(address: str, scheduler: psutil.Process, job: Job, pieces: Sequence[Piece]) -> tuple[float, float]:
    """Seconds that a job takes, and those of the scheduler's processor in it."""
    before, began = sum(scheduler.cpu_times()[:2]), time.perf_counter()
    crew_at(address)(job, pieces)
    return time.perf_counter() - began, sum(scheduler.cpu_times()[:2]) - before


@contextmanager
def _cluster(workers: int) -> Iterator[Cluster]:
    """A scheduler and so many workers, a core each, as processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    # `python -m` imports from the working folder, where the workers find cluster_jobs.
    options = {"cwd": HERE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", address, "--no-dashboard"], **options)
    worker = [
        *dask,
        "worker",
        address,
        *["--nthreads", "1", "--memory-limit", "0", "--no-nanny", "--no-dashboard"],
    ]
    started = [scheduler]
    try:
        for core in range(workers):
            started.append(subprocess.Popen(["taskset", "-c", str(core), *worker], **options))
        time.sleep(5)  # so that all are there when the work begins
        yield address, psutil.Process(scheduler.pid)
    finally:
        for process in reversed(started):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _writer(folder: Path, parts: Sequence[Shard]) -> tuple[float, float]:
    """Bytes a row of the shards, and photos a second from finished shards to a checked submission."""
    photos = [photo for part in parts for photo in part.photos]
    began = time.process_time()
    write_from_shards(parts, [folder / "x.csv.gz"])
    check_submission(folder / "x.csv.gz", {photo.name: (1280, 1918) for photo in photos})
    seconds = time.process_time() - began
    return sum(part.path.stat().st_size for part in parts) / len(photos), len(photos) / seconds


def _storage(photos: Sequence[Sample]) -> float:
    """Bytes a second that this machine's disk gives of photos that are not in memory, to eight readers."""
    for photo in photos:
        with open(photo.path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as readers:
        total = sum(readers.map(lambda photo: len(photo.path.read_bytes()), photos))
    return total / (time.perf_counter() - began)


if __name__ == "__main__":
    console.run(benchmark)
