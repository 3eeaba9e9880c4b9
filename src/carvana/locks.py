"""Locks in folders that machines share, so that no two processes write the same file at once.

They are the kernel's (flock): on a shared folder its server keeps them, and a process that dies, however it dies, has
left its own. What stays behind is a file that says who had it last.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from carvana.console import Reporter
from carvana.errors import UserError

_AT_ONCE_S = 0.5
"""Seconds within which a lock is expected; who waits longer says so."""


@contextmanager
def file_lock(path: Path, reporter: Reporter) -> Iterator[None]:
    """Hold a lock while the block lasts; where another process has it, say who, and wait until it ends.

    Args:
        path: the lock's file, of which nothing else is made.
        reporter: where to say it; may raise to end the waiting.

    Raises:
        UserError: the folder's file system keeps no locks.
    """
    lock = _lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_AT_ONCE_S)
        except Timeout:
            _wait(lock, path, reporter)
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror}); choose a folder that can") from None
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock, as far as this machine can tell."""
    lock = _lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _lock(path: Path) -> FileLock:
    return FileLock(path, on_acquired=_sign, fallback_to_soft=False)


def _sign(file: int) -> None:
    """Write down who has the lock."""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    os.ftruncate(file, 0)
    os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()} since {when}\n".encode(), 0)


def _wait(lock: FileLock, path: Path, reporter: Reporter) -> None:
    owner = path.read_text().strip() or "another process"
    reporter.message(f"{path.parent}: {owner} is at work there; waits for its end")
    with reporter.progress(f"waits for {owner}", 1, "process") as advance:

        def seen() -> bool:
            advance(0)
            return False

        lock.acquire(cancel_check=seen, poll_interval=_AT_ONCE_S)
