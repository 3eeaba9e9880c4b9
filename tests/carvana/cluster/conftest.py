"""Fixtures that start a Dask scheduler and workers as processes on this machine, and end them afterwards."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import carvana

SRC = Path(carvana.__file__).parents[1]
DASK = [sys.executable, "-m", "dask"]
TIMEOUT_S = 60


def wait_until(condition: Callable[[], object], what: str) -> object:
    """Wait until a condition holds, and return its value."""
    end = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {TIMEOUT_S} s"
        time.sleep(0.02)
    return found


class DaskProcesses:
    """`dask scheduler` and `dask worker` processes, started by the commands that people use."""

    def __init__(self, folder: Path, options: tuple[str, ...] = (), host: str = "127.0.0.1") -> None:
        """Start a scheduler that logs to `folder`; `options` are those of Dask for TLS."""
        self._folder, self._options, self._all = folder, options, []
        folder.mkdir()
        protocol = "tls" if options else "tcp"
        self.scheduler = self.start(
            "scheduler", "--host", f"{protocol}://{host}:0", "--dashboard-address", f"{host}:0", source=None
        )
        self.address = self._address_in_log(self.scheduler, "Scheduler at")

    def start(self, *command: str, source: Path | None, prefix: tuple[str, ...] = ()) -> subprocess.Popen:
        """Start a command of Dask that imports the project from `source`, or cannot import it if that is None."""
        path = [source, Path(__file__).parent] if source else [self._without_carvana()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        with open(self._folder / f"{len(self._all)}.log", "w") as log:
            process = subprocess.Popen(
                [*prefix, *DASK, *command, *self._options],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._all.append(process)
        return process

    def _without_carvana(self) -> Path:
        """Return a folder for PYTHONPATH that hides the installed project."""
        folder = self._folder / "without"
        folder.mkdir(exist_ok=True)
        (folder / "carvana.py").write_text("raise ModuleNotFoundError(\"No module named 'carvana'\")\n")
        return folder

    def worker(
        self, *options: str, source: Path | None = SRC, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen:
        """Start a worker."""
        quiet = ("--no-dashboard", "--memory-limit", "0", "--local-directory", str(self._folder / "scratch"))
        if "--nthreads" not in options:
            options = (*options, "--nthreads", "1")
        return self.start("worker", self.address, *quiet, *options, source=source, prefix=prefix)

    def address_of(self, worker: subprocess.Popen) -> str:
        """Return a worker's address, as soon as it listens."""
        return self._address_in_log(worker, "Start worker at")

    def _address_in_log(self, process: subprocess.Popen, label: str) -> str:
        log = self._folder / f"{self._all.index(process)}.log"
        found = wait_until(lambda: re.search(rf"{label}: +(\S+)", log.read_text()), f"`{label}` in {log}")
        return found[1]

    def end(self, process: subprocess.Popen) -> None:
        """Kill a process and its children."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait(10)

    def end_all(self) -> None:
        """Kill all processes."""
        for process in self._all:
            self.end(process)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Callable[..., DaskProcesses]]:
    """Return a function that starts a scheduler for one test."""
    made: list[DaskProcesses] = []

    def make(*options: str, host: str = "127.0.0.1") -> DaskProcesses:
        made.append(DaskProcesses(tmp_path / f"dask-{len(made)}", options, host))
        return made[-1]

    yield make
    for one in made:
        one.end_all()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A scheduler without the project, and two workers, of which one offers a GPU and has two threads."""
    processes = DaskProcesses(tmp_path_factory.mktemp("pair") / "dask")
    processes.worker("--resources", "GPU=1", "--nthreads", "2")
    processes.worker()
    yield processes
    processes.end_all()


@pytest.fixture(scope="module")
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """The address of a bridge, and the command prefixes that run a program in each of its two network namespaces."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and `ip`")
    tag = f"{os.getpid() % 10_000:04d}"
    bridge, names = f"cvb{tag}", [f"cv{tag}a", f"cv{tag}b"]
    network = f"10.213.{os.getpid() % 250 + 1}"  # each test process has its own
    commands = [f"ip link add {bridge} type bridge", f"ip addr add {network}.1/24 dev {bridge}"]
    commands += [f"ip link set {bridge} up"]
    for number, name in enumerate(names, start=2):
        commands += [
            f"ip netns add {name}",
            f"ip link add {name}h type veth peer name {name}n",
            f"ip link set {name}n netns {name}",
            f"ip link set {name}h master {bridge} up",
            f"ip -n {name} addr add {network}.{number}/24 dev {name}n",
            f"ip -n {name} link set {name}n up",
            f"ip -n {name} link set lo up",
        ]
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"network namespaces cannot be created here: {command}: {done.stderr.strip()}")
        yield f"{network}.1", [("ip", "netns", "exec", name) for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            subprocess.run(["ip", "link", "del", f"{name}h"], capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True)
