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
from pathlib import Path
from typing import Annotated

import cluster_jobs
import psutil
import tomli_w
import typer
from cluster_jobs import Measured, NoLoad, Nothing, clocked, piece_seconds, start_seconds
from prediction import repeated

from carvana import console
from carvana.cluster.crew import crew_at
from carvana.data.folder import Photo, test_photos
from carvana.leaderboard.entries import check_entry, write_from_shards
from carvana.pieces import Job, Piece
from carvana.prediction.shards import PHOTOS, Shard

HERE = Path(__file__).parent
EMPTY = 200
"""Pieces of nothing that are handed out, to see what handing out costs."""


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="Of the network.")] = "fast",
    pieces: Annotated[int, typer.Option(min=2, help="Shards a worker; the first is not counted.")] = 4,
    size: Annotated[int, typer.Option(min=16, help="Photos of a shard.")] = PHOTOS,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = HERE / "cluster.toml",
) -> None:
    """Measure prediction on one and two workers beside the plain run.

    Example:

        ./run.sh benchmark cluster --data $CARVANA_DATA
    """
    photos = test_photos(data)
    many = repeated(photos, 2 * pieces * size)
    with tempfile.TemporaryDirectory() as name:
        plain, one, two = (Path(name) / part for part in ("plain", "one", "two"))
        command = [sys.executable, cluster_jobs.__file__, *map(str, (plain, data, recipe, pieces, size))]
        subprocess.run(["taskset", "-c", "0", *command], check=True)
        with _cluster(1) as (address, scheduler):
            half = clocked(many[: pieces * size], one, size)
            _timed(address, scheduler, Measured(one, data, recipe), half)
            hand_out, scheduler_s = _empty(address, scheduler, one)
        with _cluster(2) as (address, scheduler):
            whole = clocked(many, two, size)
            seconds, both = _timed(address, scheduler, Measured(two, data, recipe), whole)
        row_bytes, writer = _writer(two, whole)
        (plain_s,), (one_s,) = piece_seconds(plain), piece_seconds(one)
        figures = {
            "piece_photos": size,
            "plain_photos_s": round(size / plain_s, 2),
            "one_worker_photos_s": round(size / (one_s + hand_out), 2),
            "two_workers_photos_s": round(sum(size / (each + hand_out) for each in piece_seconds(two)), 2),
            "start_s": round(start_seconds(one), 1),
            "hand_out_s": round(hand_out, 4),
            "scheduler_s_a_piece": round(scheduler_s, 4),
            "scheduler_share_a_worker": round(both / seconds / 2, 4),
            "photo_bytes": round(sum(photo.path.stat().st_size for photo in photos) / len(photos)),
            "row_bytes": round(row_bytes),
            "storage_bytes_s": round(_storage(photos)),
            "writer_photos_s": round(writer),
        }
    out.write_text(f"# Recipe {recipe}, a core a worker.\n" + tomli_w.dumps(figures))
    _show(figures, recipe)


def _show(figures: dict[str, float], recipe: str) -> None:
    size = figures["piece_photos"]
    plain, one = (size / figures[f"{which}_photos_s"] for which in ("plain", "one_worker"))
    rows = [
        ["plain run, one core", f"{size / plain:.2f}", f"{plain:.2f}", ""],
        ["1 worker, one core", f"{size / one:.2f}", f"{one:.2f}", f"{one / plain - 1:+.2%}"],
        ["2 workers, a core each", f"{figures['two_workers_photos_s']:.2f}", "", ""],
    ]
    console.show_table(
        f"Prediction with `{recipe}`, pieces of {size} photos",
        ["where", "photos/s", "a piece [s]", "beside the plain run"],
        rows,
    )
    rows = [[name.replace("_", " "), f"{value:,}"] for name, value in figures.items()]
    console.show_table("What it is made of", ["figure", "value"], rows)


def _empty(address: str, scheduler: psutil.Process, folder: Path) -> tuple[float, float]:
    """Seconds that handing out a piece takes, and those of the scheduler's processor in it."""
    warm = _timed(address, scheduler, NoLoad(folder), [Nothing(0)])
    full = _timed(address, scheduler, NoLoad(folder), [Nothing(number) for number in range(EMPTY + 1)])
    return (full[0] - warm[0]) / EMPTY, (full[1] - warm[1]) / EMPTY


def _timed(address: str, scheduler: psutil.Process, job: Job, pieces: Sequence[Piece]) -> tuple[float, float]:
    """Seconds that a job takes, and those of the scheduler's processor in it."""
    before, began = sum(scheduler.cpu_times()[:2]), time.perf_counter()
    crew_at(address)(job, pieces)
    return time.perf_counter() - began, sum(scheduler.cpu_times()[:2]) - before


@contextmanager
def _cluster(workers: int) -> Iterator[tuple[str, psutil.Process]]:
    """A scheduler and so many workers, a core each, as processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parent / 'src'}{os.pathsep}{HERE}"}
    options = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
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
    check_entry(folder / "x.csv.gz", {photo.name: (1280, 1918) for photo in photos})
    seconds = time.process_time() - began
    return sum(part.path.stat().st_size for part in parts) / len(photos), len(photos) / seconds


def _storage(photos: Sequence[Photo]) -> float:
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
