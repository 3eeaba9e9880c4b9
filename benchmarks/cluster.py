"""Prediction on a Dask cluster, a core a worker: beside the plain run on one core, and what a piece costs on the way.

    ./run.sh benchmark cluster --data $CARVANA_DATA

As in `benchmarks/prediction.py`, a network works for its time, and masks of real cars stand for its answers. The
figures go to `benchmarks/cluster.toml`, from which `benchmarks/scale_model.py` computes what more machines would do.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import psutil
import tomli_w
import typer
from prediction import Constant, maps_of_cars, repeated

from carvana import console
from carvana.cluster.crew import crew_at
from carvana.data.folder import Photo, test_photos
from carvana.leaderboard.entries import check_entry, write_from_shards
from carvana.models.build import build, frame_of
from carvana.pieces import Job, Piece
from carvana.prediction import shards
from carvana.prediction.answers import Blend
from carvana.prediction.networks import Networks
from carvana.prediction.question import Question
from carvana.recipe import read_recipe

HERE = Path(__file__).parent
EMPTY = 200
"""Pieces of nothing that are handed out, to see what handing out costs."""


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="Of the network.")] = "fast",
    pieces: Annotated[int, typer.Option(min=2, help="Shards a worker; the first is not counted.")] = 4,
    size: Annotated[int, typer.Option(min=16, help="Photos of a shard.")] = shards.PHOTOS,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = HERE / "cluster.toml",
) -> None:
    """Measure prediction on one and two workers beside the plain run.

    Example:

        ./run.sh benchmark cluster --data $CARVANA_DATA
    """
    photos = test_photos(data)
    many = repeated(photos, 2 * pieces * size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = _plain(folder / "plain", data, recipe, pieces, size)
        with _cluster(1) as (address, scheduler):
            half = _shards(many[: pieces * size], folder / "one", size)
            one = _predict(address, scheduler, Measured(folder / "one", data, recipe), half, 1)
            empty = _empty(address, scheduler, folder)
        with _cluster(2) as (address, scheduler):
            whole = _shards(many, folder / "two", size)
            two = _predict(address, scheduler, Measured(folder / "two", data, recipe), whole, 2)
        rows, writer = _writer(folder, whole)
    figures = {
        "piece_photos": size,
        "plain_photos_s": round(plain, 2),
        "one_worker_photos_s": round(one.rate, 2),
        "two_workers_photos_s": round(two.rate, 2),
        "start_s": round(one.start_s, 1),
        "hand_out_s": round(empty.seconds / EMPTY, 4),
        "scheduler_s_a_piece": round(empty.scheduler_s / EMPTY, 4),
        "scheduler_share_a_worker": round(two.scheduler_share / 2, 4),
        "photo_bytes": round(sum(photo.path.stat().st_size for photo in photos) / len(photos)),
        "row_bytes": round(rows),
        "storage_bytes_s": round(_storage(photos)),
        "writer_photos_s": round(writer),
    }
    out.write_text(
        f"# {len(os.sched_getaffinity(0))} shared cores, a core a worker; recipe {recipe}\n"
        + tomli_w.dumps(figures)
    )
    _show(figures, recipe)


def _show(figures: dict[str, float], recipe: str) -> None:
    piece = figures["piece_photos"] / figures["plain_photos_s"]
    overhead = figures["piece_photos"] / figures["one_worker_photos_s"] - piece
    rows = [
        ["plain run, one core", f"{figures['plain_photos_s']:.2f}", f"{piece:.1f}", ""],
        [
            "1 worker, one core",
            f"{figures['one_worker_photos_s']:.2f}",
            f"{piece + overhead:.1f}",
            f"{overhead / piece:+.1%}",
        ],
        ["2 workers, a core each", f"{figures['two_workers_photos_s']:.2f}", "", ""],
    ]
    console.show_table(
        f"Prediction with `{recipe}`, pieces of {figures['piece_photos']} photos",
        ["where", "photos/s", "a piece [s]", "beside the plain run"],
        rows,
    )
    rows = [[name.replace("_", " "), f"{value:,}"] for name, value in figures.items()]
    console.show_table("What it is made of", ["figure", "value"], rows)


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

    def load(self) -> tuple[Question, Blend]:
        """The network, not trained, and the masks."""
        recipe = read_recipe(self.recipe)
        networks = Networks([build(recipe)], frame_of(recipe))
        return Question((), 0.5), Blend(
            (Constant(recipe.size, maps_of_cars(self.data, recipe.size), networks),)
        )


@dataclass(frozen=True)
class Nothing:
    """A piece that is done at once."""

    number: int
    size: int = 1

    @property
    def name(self) -> str:
        """Its number."""
        return f"nothing {self.number}"

    def done(self) -> int:
        """Of it."""
        return 0

    def do(self, loaded: object, show: console.Show) -> None:
        """Report, as every piece does."""
        with show.progress(self.name, self.size, "photos") as advance:
            advance(1)


@dataclass
class Run:
    """What came of a run on a cluster."""

    seconds: float
    scheduler_s: float
    """Of its processor's time."""
    ends: list[float] = field(default_factory=list)
    """When each shard was there, by the clock."""
    size: int = 0
    """Photos of a shard."""
    began: float = 0.0
    workers: int = 1

    @property
    def rate(self) -> float:
        """Photos a second, each worker's first shard left out, in which it loads and compiles."""
        warm = self.ends[self.workers - 1 :]
        return (len(warm) - 1) * self.size / (warm[-1] - warm[0])

    @property
    def start_s(self) -> float:
        """Seconds that the first shard took longer than the others."""
        return self.ends[0] - self.began - self.workers * self.size / self.rate

    @property
    def scheduler_share(self) -> float:
        """Of a core, 0..1, that the scheduler took."""
        return self.scheduler_s / self.seconds


def _shards(photos: Sequence[Photo], folder: Path, size: int) -> list[shards.Shard]:
    """Shards of any size."""
    firsts = range(0, len(photos), size)
    return [
        shards.Shard(folder / f"{number:05d}-.csv.gz", tuple(photos[first : first + size]))
        for number, first in enumerate(firsts)
    ]


def _plain(folder: Path, data: Path, recipe: str, pieces: int, size: int) -> float:
    """Photos a second of the plain run on one core, its first shard left out."""
    command = [sys.executable, __file__, "--plain", *map(str, (folder, data, recipe, pieces, size))]
    subprocess.run(["taskset", "-c", "0", *command], check=True)
    return Run(0, 0, _ends(folder), size).rate


def plain_run(folder: Path, data: Path, recipe: str, pieces: int, size: int) -> None:
    """Predict so many shards in one stream, as `predict.py` does."""
    photos = repeated(test_photos(data), pieces * size)
    with console.progress("plain", len(photos), "photos") as advance:
        loaded = Measured(folder, data, recipe).load()
        shards.predict_shards(*loaded, _shards(photos, folder, size), advance)


def _predict(
    address: str, scheduler: psutil.Process, job: Measured, parts: Sequence[shards.Shard], workers: int
) -> Run:
    began = time.time()
    run = _timed(address, scheduler, job, parts)
    run.ends, run.size, run.began, run.workers = _ends(job.folder), parts[0].size, began, workers
    return run


def _empty(address: str, scheduler: psutil.Process, folder: Path) -> Run:
    """What handing out `EMPTY` pieces takes, beside what all commands take."""
    warm = _timed(address, scheduler, NoLoad(folder), [Nothing(0)])
    run = _timed(address, scheduler, NoLoad(folder), [Nothing(number) for number in range(EMPTY + 1)])
    return Run(run.seconds - warm.seconds, run.scheduler_s - warm.scheduler_s)


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


def _timed(address: str, scheduler: psutil.Process, job: Job, pieces: Sequence[Piece]) -> Run:
    before, began = sum(scheduler.cpu_times()[:2]), time.perf_counter()
    crew_at(address)(job, pieces)
    return Run(time.perf_counter() - began, sum(scheduler.cpu_times()[:2]) - before)


def _ends(folder: Path) -> list[float]:
    return sorted(path.stat().st_mtime for path in folder.glob("[!.]*.csv.gz"))


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
        "--nthreads",
        "1",
        "--memory-limit",
        "0",
        "--no-nanny",
        "--no-dashboard",
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


def _writer(folder: Path, parts: Sequence[shards.Shard]) -> tuple[float, float]:
    """Bytes a row of the shards, and photos a second from finished shards to a checked submission."""
    photos = [photo for part in parts for photo in part.photos]
    began = time.perf_counter()
    write_from_shards(parts, [folder / "x.csv.gz"])
    check_entry(folder / "x.csv.gz", {photo.name: (1280, 1918) for photo in photos})
    seconds = time.perf_counter() - began
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
    if sys.argv[1:2] == ["--plain"]:
        plain_run(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
    else:
        import cluster  # whose classes workers can import, as those of __main__ they cannot

        console.run(cluster.benchmark)
