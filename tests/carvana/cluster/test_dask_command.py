"""`./run.sh dask`: who can connect to a scheduler and its workers."""

import asyncio
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import psutil
import pytest
from conftest import wait_until
from distributed import comm
from distributed.cli import dask_scheduler, dask_worker
from distributed.security import Security

from carvana.cluster import dask_command
from carvana.cluster.connection import connect
from carvana.errors import UserError

COMMAND = [sys.executable, "-m", "carvana.cluster.dask_command"]


@contextmanager
def dask_settings(path: Path) -> Iterator[None]:
    """Let this process use the settings of a file, as DASK_CONFIG does for a new process."""
    dask.config.refresh(paths=[str(path)])
    try:
        yield
    finally:
        dask.config.refresh()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with certificates."""
    path = tmp_path_factory.mktemp("settings") / "tls.json"
    dask_command.write_certificates(path)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict, str]]:
    """Return a function that runs a command line; it returns the options that Dask gets, and its error."""
    started: list[dict] = []
    for module in (dask_scheduler, dask_worker):
        monkeypatch.setattr(module.main, "callback", lambda **options: started.append(options))

    def run(*arguments: str) -> tuple[dict, str]:
        started.clear()
        monkeypatch.setattr(sys, "argv", ["dask", *arguments])
        with pytest.raises(SystemExit) as end:
            dask_command.main()
        if started:
            assert not end.value.code
            return started[0], ""
        return {}, str(end.value.code)

    return run


ANYONE = "without TLS, everyone who reaches its address could run code as you"


@pytest.mark.parametrize(
    "arguments",
    [
        ["scheduler"],
        ["scheduler", "--port", "0"],
        ["scheduler", "--host", "localhost"],
        ["scheduler", "--host", "tcp://127.0.0.2:8786"],
        ["scheduler", "--host", "[::1]"],
        ["scheduler", "--interface", "lo"],
        ["scheduler", "--protocol", "tcp,ws", "--port", "8786,8787"],
        ["scheduler", "--host", "0.0.0.0", "--insecure"],
        ["scheduler", "--jupyter"],
        ["scheduler", "--jupyter", "--dashboard-address", ":8787", "--insecure"],
        ["worker", "tcp://127.0.0.1:8786"],
        ["worker", "localhost:8786"],
        ["worker", "tcp://10.1.1.1:8786", "--host", "127.0.0.1"],
        ["worker", "tcp://10.1.1.1:8786", "--insecure"],
        ["worker", "tcp://127.0.0.1:8786", "--listen-address", "tcp://127.0.0.1:9000"],
    ],
)
def test_this_machine_needs_no_certificates(run: Callable, arguments: list[str]) -> None:
    if "lo" in arguments and "lo" not in psutil.net_if_addrs():
        pytest.skip("the loopback interface has another name here")
    options, error = run(*arguments)
    assert options, error


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "[::]", "10.1.1.1:8786", "head-node", "localhost.example.org", ":8786"]
)
def test_a_scheduler_on_another_address_uses_tls(run: Callable, settings: Path, host: str) -> None:
    options, error = run("scheduler", "--host", host)
    assert not options
    assert error.startswith(f"error: scheduler: {ANYONE}; use tls:// with certificates")
    assert "\n" not in error
    with dask_settings(settings):
        assert run("scheduler", "--host", host)[0]["protocol"] == "tls"


@pytest.mark.parametrize(
    "arguments",
    [
        ["scheduler", "--host", "tcp://"],
        ["scheduler", "--host", "tcp://:8786"],
        ["scheduler", "--host", "tls://0.0.0.0", "--protocol", "tcp"],
        ["scheduler", "--host", "0.0.0.0", "--protocol", "tls,tcp", "--port", "0,0"],
        ["worker", "tcp://10.1.1.1:8786"],
        ["worker", "10.1.1.1:8786"],
        ["worker", "tls://10.1.1.1:8786", "--protocol", "tcp"],
        ["worker", "tcp://127.0.0.1:8786", "--host", "0.0.0.0"],
        ["worker", "tcp://127.0.0.1:8786", "--listen-address", "tcp://0.0.0.0:9000"],
        ["worker", "--scheduler-file", "/not/there/yet"],
    ],
)
def test_protocols_without_encryption_are_refused(
    run: Callable, settings: Path, arguments: list[str]
) -> None:
    """Also where there are certificates."""
    assert ANYONE in run(*arguments)[1]
    with dask_settings(settings):
        assert ANYONE in run(*arguments)[1]
    assert run(*arguments, "--insecure")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["scheduler", "--protocol", "tls"],
        ["scheduler", "--host", "tls://0.0.0.0"],
        ["worker", "tls://10.1.1.1:8786"],
    ],
)
def test_tls_needs_certificates(run: Callable, settings: Path, arguments: list[str]) -> None:
    _, error = run(*arguments, "--insecure")
    assert "needs certificates (`./run.sh dask certificates FILE` makes them, " in error
    with dask_settings(settings):
        options, error = run(*arguments)
    assert options, error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worker"], "worker: needs the address of a scheduler, e.g. tls://HOST:8786"),
        (["scheduler", "--jupyter", "--dashboard-address", ":8787"], "--jupyter: everyone who reaches :8787"),
        (["scheduler", "--interface", "none0"], "'none0' is not a valid network interface"),
        (["scheduler", "--host", "::1"], "ipv6 needs brackets like [::1]"),
        (["ssh", "one", "two"], "this command starts servers without TLS"),
        (["spec", "--spec", "{}"], "this command starts servers without TLS"),
    ],
)
def test_wrong_options_are_an_error_in_one_line(run: Callable, arguments: list[str], message: str) -> None:
    options, error = run(*arguments)
    assert not options
    assert message in error
    assert "\n" not in error


def test_the_address_of_the_scheduler_may_be_in_its_file(run: Callable, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": "tcp://127.0.0.1:8786"}))
    assert run("worker", "--scheduler-file", str(file))[0]["host"] == "127.0.0.1"
    file.write_text("{")
    assert "not a scheduler file" in run("worker", "--scheduler-file", str(file))[1]


def test_certificates_are_of_the_user_alone_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cluster" / "tls.json"
    done = subprocess.run(
        [*COMMAND, "certificates", path], capture_output=True, text=True, check=True, umask=0
    )
    assert done.stdout == f"{path}: written. On each machine of the cluster: export DASK_CONFIG={path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = subprocess.run([*COMMAND, "certificates", path], capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert again.stderr.startswith(f"error: {path}: exists, and may be in use; ")
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", [["certificates", "/proc/tls.json"], ["scheduler", "--port", "1"]])
def test_an_error_of_the_system_is_one_line(command: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [part.replace("1", str(taken.getsockname()[1])) for part in command]
        done = subprocess.run([*COMMAND, *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr


def test_certificates_need_openssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="openssl makes the certificates of a cluster, and does not run"):
        dask_command.write_certificates(tmp_path / "tls.json")
    assert list(tmp_path.iterdir()) == []


def listening_hosts(process: int) -> set[str]:
    """Return the addresses on which a process and its children listen."""
    root = psutil.Process(process)
    processes = [root, *root.children(recursive=True)]
    connections = [connection for one in processes for connection in one.net_connections("tcp")]
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def is_open(address: str, security: Security) -> bool:
    """Return whether a client can connect to a scheduler or worker."""

    async def open_and_close() -> None:
        (await comm.connect(address, timeout=5, **security.get_connection_args("client"))).abort()

    try:
        asyncio.run(open_and_close())
    except (OSError, TypeError):  # Dask raises TypeError where it has no certificates
        return False
    return True


def security_of(path: Path) -> Security:
    """Return the certificates in a file of settings."""
    with dask_settings(path):
        return Security()


def assert_closed(address: str, others: Path) -> None:
    """Assert that clients without certificates, and with others than those of the cluster, cannot connect."""
    assert not is_open(address, Security())
    assert not is_open(address.replace("tls://", "tcp://"), Security())
    assert not is_open(address, security_of(others))
    host, port = address.removeprefix("tls://").rsplit(":", 1)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        pytest.raises(OSError),
        socket.create_connection((host, int(port))) as raw,
        context.wrap_socket(raw) as encrypted,
    ):
        if not encrypted.recv(1):  # with TLS 1.3, the first read reports the refusal
            raise ConnectionResetError


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen, str]]]:
    """Return a function that starts `./run.sh dask`; it returns the process and the address that its log reports."""
    processes = []

    def start(*command: str, log_label: str, **variables: str) -> tuple[subprocess.Popen, str]:
        log = tmp_path / f"{len(processes)}.log"
        with open(log, "w") as opened:
            process = subprocess.Popen(
                [*COMMAND, *command], env=os.environ | variables, stdout=opened, stderr=opened, cwd=tmp_path
            )
        processes.append(process)
        found = wait_until(
            lambda: re.search(rf"{log_label}: +(\S+)", log.read_text()), f"{log_label} in {log}"
        )
        return process, found[1]

    yield start
    for process in reversed(processes):
        process.terminate()
        process.wait(60)


def test_by_default_servers_listen_on_this_machine_only(start: Callable) -> None:
    scheduler, address = start("scheduler", "--port", "0", log_label="Scheduler at")
    assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", address)
    worker, _ = start("worker", address, "--nthreads", "1", log_label="Registered to")
    assert listening_hosts(scheduler.pid) == listening_hosts(worker.pid) == {"127.0.0.1"}


def test_only_the_certificates_of_a_cluster_open_it(
    start: Callable, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / "other.json"
    dask_command.write_certificates(other)
    variables = {"DASK_CONFIG": str(settings)}
    scheduler, address = start("scheduler", "--host", "0.0.0.0:0", log_label="Scheduler at", **variables)
    assert address.startswith("tls://")
    assert "0.0.0.0" in listening_hosts(scheduler.pid)
    worker = ["worker", address, "--no-nanny", "--nthreads", "1"]
    _, worker_address = start(*worker, log_label="Start worker at", **variables)
    assert worker_address.startswith("tls://")
    with dask_settings(settings), connect(address) as client:
        assert client.submit(sum, [1, 2]).result(60) == 3
    for server in (address, worker_address):
        assert is_open(server, security_of(settings))
        assert_closed(server, other)
    with pytest.raises(UserError, match="and DASK_CONFIG=FILE names its certificates"), connect(address):
        pass


def test_workers_of_local_n_are_closed_to_other_users(settings: Path) -> None:
    """Other users can connect to all addresses of this machine, and have no certificates of this run."""
    with connect("local:1") as client:
        info = client.scheduler_info()
        assert client.submit(sum, [1, 2]).result(60) == 3
        assert listening_hosts(os.getpid()) == {"127.0.0.1"}
        for address in (info["address"], *info["workers"]):
            assert_closed(address, settings)
