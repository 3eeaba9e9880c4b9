"""Benchmark of prediction on a Dask cluster with one core per worker, compared with one core without a cluster.

    ./run.sh benchmark cluster --data $CARVANA_DATA

As in `benchmarks/prediction.py`, an untrained network runs for its time, and the masks of real cars are taken as its
result. Times of tasks are CPU times, so that other work on the machine does not count. The figures are written to
`benchmarks/cluster.toml`, from which `benchmarks/scale_model.py` computes estimates for more machines.
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
    EmptyJob,
    EmptyTask,
    PredictionBenchmarkJob,
    seconds_per_empty_task,
    shard_seconds,
    start_seconds,
    timed_shards,
)
from prediction import repeated

from carvana import commandline, console
from carvana.cluster.executor import dask_executor
from carvana.data.dataset import Sample, test_samples
from carvana.inference.shards import SHARD_SIZE, Shard
from carvana.submission.csv_file import check_submission
from carvana.submission.predict_test import write_from_shards
from carvana.tasks import Job, Task

HERE = Path(__file__).parent
Cluster = tuple[str, psutil.Process]
"""A scheduler's address, and its process."""

EMPTY_TASKS = 200
"""Number of empty tasks, by which the time to submit a task is measured."""


def benchmark(
    data: Annotated[Path, typer.Option(resolve_path=True, help="A folder of the competition's form.")] = Path(
        "data"
    ),
    recipe: Annotated[str, typer.Option(help="The network's recipe.")] = "fast",
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; the median is reported.")] = 3,
    out: Annotated[Path, typer.Option(help="The file for the figures.")] = HERE / "cluster.toml",
) -> None:
    """Measure prediction on one and two workers, and on one core without a cluster.

    Example:

        ./run.sh benchmark cluster --data $CARVANA_DATA
    """
    photos = test_samples(data)
    real = []
    with _cluster(1) as one, _cluster(2) as two:
        submissions = [_submit_empty_tasks(*one) for _ in range(rounds)]
        for _ in range(rounds):
            real.append(_round(data, recipe, 4, 256, one, two))
    submit_s, scheduler_s = (median(values) for values in zip(*submissions, strict=True))
    plain_s, one_s = median(one.plain_s for one in real), median(one.one_s for one in real) + submit_s
    figures = {
        "task_photos": SHARD_SIZE,
        "plain_photos_per_s": round(256 / plain_s, 2),
        "one_worker_photos_per_s": round(256 / one_s, 2),
        "two_workers_photos_per_s": round(sum(256 / (seconds + submit_s) for seconds in _medians(real)), 2),
        "task_overhead_s": round((one_s - plain_s) * SHARD_SIZE / 256, 4),
        "start_s": round(median(one.start_s for one in real), 1),
        "submit_s": round(submit_s, 4),
        "scheduler_s_per_task": round(scheduler_s, 4),
        "scheduler_share_per_worker": round(median(one.scheduler for one in real), 4),
        "photo_bytes": round(sum(photo.path.stat().st_size for photo in photos) / len(photos)),
        "row_bytes": round(median(one.row_bytes for one in real)),
        "storage_bytes_per_s": round(median(_storage(photos) for _ in range(rounds))),
        "writer_photos_per_s": round(median(one.writer for one in real)),
    }
    out.write_text(f"# Recipe {recipe}, one core per worker.\n" + tomli_w.dumps(figures))
    _show(figures, recipe)


@dataclass(frozen=True)
class Round:
    """Result of one repetition; times of shards are CPU seconds."""

    plain_s: float
    one_s: float
    two_s: list[float]
    """Each of two workers."""
    start_s: float
    """Time until a worker's first photo, its own start included."""
    scheduler: float
    """Share of a core, 0..1, that the scheduler takes for one worker."""
    row_bytes: float
    writer: float
    """Photos per second from finished shards to a checked submission."""


def _round(data: Path, recipe: str, n_shards: int, size: int, one: Cluster, two: Cluster) -> Round:
    photos = repeated(test_samples(data), 2 * n_shards * size)
    with tempfile.TemporaryDirectory() as name:
        alone, single, double = (Path(name) / part for part in ("alone", "single", "double"))
        command = [
            sys.executable,
            cluster_jobs.__file__,
            *map(str, (alone, data, recipe, n_shards, size)),
        ]
        subprocess.run(["taskset", "-c", "0", *command], check=True)
        half = timed_shards(photos[: n_shards * size], single, size)
        _timed(*one, PredictionBenchmarkJob(single, data, recipe), half)
        whole = timed_shards(photos, double, size)
        seconds, scheduler_s = _timed(*two, PredictionBenchmarkJob(double, data, recipe), whole)
        (alone_s,), (single_s,) = shard_seconds(alone), shard_seconds(single)
        start = start_seconds(alone)
        return Round(
            alone_s,
            single_s,
            shard_seconds(double),
            start,
            scheduler_s / seconds / 2,
            *_writer(double, whole),
        )


def _medians(rounds: Sequence[Round]) -> list[float]:
    """Return the seconds of a shard on each of two workers."""
    return [median(seconds) for seconds in zip(*(one.two_s for one in rounds), strict=True)]


def _show(figures: dict[str, float], recipe: str) -> None:
    ways = {
        "without a cluster, one core": "plain",
        "1 worker, one core": "one_worker",
        "2 workers, one core each": "two_workers",
    }
    rows = [[way, f"{figures[f'{name}_photos_per_s']:.2f}"] for way, name in ways.items()]
    console.show_table(f"Prediction with `{recipe}`", ["", "photos/s"], rows)
    overhead, task = figures["task_overhead_s"], figures["task_photos"] / figures["plain_photos_per_s"]
    console.message(f"A task takes {overhead:.2f} s more on a worker: {overhead / task:.1%}")
    rows = [[name.replace("_", " "), f"{value:,}"] for name, value in figures.items()]
    console.show_table("Figures", ["figure", "value"], rows)


def _submit_empty_tasks(address: str, scheduler: psutil.Process) -> tuple[float, float]:
    """Return the seconds that an empty task takes, and the CPU seconds of the scheduler for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = [EmptyTask(folder, number) for number in range(EMPTY_TASKS)]
        _, scheduler_s = _timed(address, scheduler, EmptyJob(folder), tasks)
        return seconds_per_empty_task(folder), scheduler_s / EMPTY_TASKS


def _timed(address: str, scheduler: psutil.Process, job: Job, tasks: Sequence[Task]) -> tuple[float, float]:
    """Return the seconds that a job takes, and the CPU seconds of the scheduler."""
    before, began = sum(scheduler.cpu_times()[:2]), time.perf_counter()
    dask_executor(address)(job, tasks)
    return time.perf_counter() - began, sum(scheduler.cpu_times()[:2]) - before


@contextmanager
def _cluster(workers: int) -> Iterator[Cluster]:
    """Start a scheduler and workers with one core each, as processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "carvana.cluster.dask_command"]
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
        time.sleep(5)  # so that all workers have joined before the first task
        yield address, psutil.Process(scheduler.pid)
    finally:
        for process in reversed(started):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _writer(folder: Path, parts: Sequence[Shard]) -> tuple[float, float]:
    """Return the bytes of a shard's row, and the photos per second from finished shards to a checked submission."""
    photos = [photo for part in parts for photo in part.photos]
    began = time.process_time()
    write_from_shards(parts, [folder / "x.csv.gz"])
    check_submission(folder / "x.csv.gz", {photo.name: (1280, 1918) for photo in photos})
    seconds = time.process_time() - began
    return sum(part.path.stat().st_size for part in parts) / len(photos), len(photos) / seconds


def _storage(photos: Sequence[Sample]) -> float:
    """Return the bytes per second that eight threads read of photos that are not in the page cache."""
    for photo in photos:
        with open(photo.path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as readers:
        total = sum(readers.map(lambda photo: len(photo.path.read_bytes()), photos))
    return total / (time.perf_counter() - began)


if __name__ == "__main__":
    commandline.run(benchmark)
