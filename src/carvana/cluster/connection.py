"""Connections to a Dask scheduler: a running one, or one that is started with a few workers on this machine."""

import logging
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from carvana import console
from carvana.arguments import parse_integer
from carvana.cluster.certificates import certificate_settings
from carvana.errors import UserError

ANSWER_TIMEOUT_S = 10
"""Time within which a scheduler must answer."""

_MAX_LOCAL = 1_024
"""Largest number of processes on this machine."""

_IGNORE_INTERRUPT = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Code for workers on this machine: a terminal sends `Ctrl-C` to them, too, but this process ends them in order."""


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a scheduler while the block lasts, and print the address of its dashboard.

    Args:
        address: an address for Dask (`tls://host:8786` with certificates in Dask's settings, or `tcp://`), or
            `local:N` for N worker processes on this machine, which have certificates of their own and end with the
            block.

    Raises:
        UserError: no scheduler answers, or the scheduler has incompatible libraries.
    """
    connection = _local(int(address.removeprefix("local:"))) if _is_local(address) else _remote(address)
    with (
        _quiet(),
        dask.config.set({"distributed.comm.timeouts.connect": ANSWER_TIMEOUT_S}),
        connection as client,
    ):
        _check_versions(client, address)
        has_dashboard = "dashboard" in client.scheduler_info()["services"]
        console.message(
            f"dashboard: {client.dashboard_link if has_dashboard else 'none, the scheduler has none'}"
        )
        yield client


def _check_versions(client: Client, address: str) -> None:
    """Raise UserError if the scheduler cannot read what this process sends."""
    versions: Any = client.get_versions()  # a synchronous client returns no coroutine, which its type allows
    ours, theirs = (
        {**dict(versions[side]["host"]), **versions[side]["packages"]} for side in ("client", "scheduler")
    )
    for name in ("python", "distributed", "cloudpickle"):
        if ours[name].split(".")[:2] != theirs[name].split(".")[:2]:
            raise UserError(
                f"--cluster {address}: the scheduler has {name} {theirs[name]}, here it is {ours[name]}"
            )


def check_address(address: str) -> None:
    """Raise UserError if an address starts with `local:` and has no valid number of processes."""
    if _is_local(address) and parse_integer(address.removeprefix("local:"), 1, _MAX_LOCAL) is None:
        raise UserError(
            f"--cluster {address}: expected local:N, with N from 1 to {_MAX_LOCAL} processes on this machine, or an"
            " address"
        )


def _is_local(address: str) -> bool:
    return address.startswith("local:")


class _Client(Client):
    """A client that is closed by its block only.

    `Client.__del__` closes a client that failed to connect. If it is collected while another client starts, it waits
    forever for a lock that the start holds (distributed 2026.8).
    """

    def __del__(self) -> None:
        pass


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    try:
        client = _Client(address, timeout=ANSWER_TIMEOUT_S, set_as_default=False)
    except Exception as error:  # an invalid address leads Dask to errors of many types
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"--cluster {address}: no Dask scheduler answers there ({reason});"
            f" `./run.sh dask scheduler` starts one{_certificates_hint(address)}"
        ) from None
    with client:
        yield client


def _certificates_hint(address: str) -> str:
    return ", and DASK_CONFIG=FILE names its certificates" if address.startswith("tls://") else ""


@contextmanager
def _local(count: int) -> Iterator[Client]:
    with dask.config.set(certificate_settings()):
        security = Security()
    with (
        _LocalWorkers(
            n_workers=count,
            security=security,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",
            preload=[_IGNORE_INTERRUPT],
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(count)
        yield client


class _LocalWorkers(LocalCluster):
    """Worker processes on this machine, each with a GPU of its own if the machine has GPUs."""

    def __init__(self, n_workers: int, **options: object) -> None:
        self._gpus = _gpus()
        if 0 < len(self._gpus) < n_workers:
            raise UserError(
                f"--cluster local:{n_workers}: this machine has {len(self._gpus)} GPUs; each process takes one"
            )
        super().__init__(n_workers=0, **options)
        self.scale(n_workers)

    def new_worker_spec(self) -> dict:
        (name, spec), *_ = super().new_worker_spec().items()
        if not self._gpus:
            return {name: spec}
        environment = {"CUDA_VISIBLE_DEVICES": self._gpus[name]}
        return {name: {**spec, "options": {**spec["options"], "env": environment}}}


def _gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, for `CUDA_VISIBLE_DEVICES`."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except OSError:
        return []
    return [str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's log while the block lasts: the user gets one line for each problem."""
    names = ("distributed", "tornado", "asyncio", "bokeh")
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith(names)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
