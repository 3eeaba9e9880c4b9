"""`local:N` starts worker processes on this machine."""

from pathlib import Path

import pytest

from carvana.cluster import connection
from carvana.cluster.connection import check_address, connect
from carvana.errors import UserError


def _visible_gpus() -> str | None:
    import os

    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `nvidia-smi` that lists two GPUs."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "GPU 0: A (UUID: GPU-1)"\necho "GPU 1: A (UUID: GPU-2)"\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_each_local_worker_gets_its_own_gpu(two_gpus: None, capsys: pytest.CaptureFixture) -> None:
    with connect("local:2") as client:
        client.wait_for_workers(2, timeout=30)
        assert sorted(client.run(_visible_gpus).values()) == ["0", "1"]
    assert "dashboard: http://127.0.0.1:" in capsys.readouterr().out


def test_more_local_workers_than_gpus_are_an_error(two_gpus: None) -> None:
    with pytest.raises(UserError, match="this machine has 2 GPUs"), connect("local:3"):
        pass


@pytest.mark.parametrize(
    "count", ["", "0", "-1", "+1", "²", "٣", "1.5", "1_0", " 1", "two", "1025", "9" * 20, "9" * 5_000]
)
def test_a_malformed_number_of_local_workers_is_refused(count: str) -> None:
    with pytest.raises(UserError, match="expected local:N, with N from 1 to 1024"):
        check_address(f"local:{count}")


@pytest.mark.parametrize(
    "address",
    [
        *(
            "carrier-pigeon://here",
            "http://127.0.0.1:1",
            "://",
            "tcp://",
            "tcp://:",
            "tcp://127.0.0.1:99999",
            "²",
        ),
        *(
            "tcp://127.0.0.1:-1",
            "tcp://127.0.0.1:port",
            "tcp://[::1",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:1",
            "\n",
        ),
        *(
            "tcp://host name:1",
            "tcp://" + "x" * 300 + ":1",
            "inproc://x",
            "127.0.0.1:1",
            "local",
            "LOCAL:2",
            ":1",
        ),
    ],
)
def test_an_address_without_a_scheduler_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 0.2)
    check_address(address)
    with pytest.raises(UserError, match=r"--cluster .*: no Dask scheduler answers there"), connect(address):
        pass
