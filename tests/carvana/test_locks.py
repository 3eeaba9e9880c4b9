"""One process has a lock at a time, and a process that dies loses it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from carvana import console
from carvana.errors import UserError
from carvana.locks import file_lock, is_locked

SRC = Path(console.__file__).parents[1]

_HOLD = """
import sys, time
sys.path.insert(0, {src!r})
from pathlib import Path
from carvana import console
from carvana.locks import file_lock
with file_lock(Path({lock!r}), console):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "run" / ".lock"


@pytest.fixture
def holder(lock: Path):
    """Another process that has the lock."""
    code = _HOLD.format(src=str(SRC), lock=str(lock))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(10)


def test_waiting_names_the_other_process_and_ends_when_it_is_killed(
    lock: Path, holder: subprocess.Popen, capsys: pytest.CaptureFixture
) -> None:
    threading.Timer(1.5, lambda: os.kill(holder.pid, signal.SIGKILL)).start()
    with file_lock(lock, console):
        assert holder.wait(10) == -signal.SIGKILL  # it had the lock until it was killed
        assert f"process {os.getpid()} on " in lock.read_text()
    assert f"run: in use by process {holder.pid} on " in capsys.readouterr().out


def test_waiting_ends_when_the_reporter_raises(lock: Path, holder: subprocess.Popen) -> None:
    class Reporter:
        message = staticmethod(lambda text: None)

        def progress(self, *_):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), file_lock(lock, Reporter()):
        pass
    assert is_locked(lock)


def test_a_lock_is_released_after_its_block_and_after_an_error(lock: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError), file_lock(lock, console):
            assert is_locked(lock)
            raise ValueError
        assert not is_locked(lock)


def test_threads_of_a_process_exclude_each_other(lock: Path) -> None:
    holders, most_holders = 0, 0

    def work() -> None:
        nonlocal holders, most_holders
        with file_lock(lock, console):
            holders += 1
            most_holders = max(most_holders, holders)
            time.sleep(0.02)
            holders -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most_holders == 1


def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be locked"), file_lock(tmp_path / "file" / ".lock", console):
        pass
