"""File locks, also on folders that machines share, so that no two processes write the same file at once.

The locks are the kernel's (flock): a shared folder's server keeps them, and a process that dies loses its own. The
lock's file stays, with a line about the process that had the lock last.
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

_QUIET_WAIT_S = 0.5
"""Time to wait for a lock before a message is printed."""


@contextmanager
def file_lock(path: Path, reporter: Reporter) -> Iterator[None]:
    """Hold a lock while the block lasts. If another process has it, report that process and wait for it.

    Args:
        path: the lock's file, which must not be used for anything else.
        reporter: gets the message about the other process; may raise an exception to end the wait.

    Raises:
        UserError: the folder cannot be written, or its file system has no locks.
    """
    lock = _lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_QUIET_WAIT_S)
        except Timeout:
            _wait(lock, path, reporter)
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror}); choose a folder that can") from None
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock, on any machine whose locks this one knows."""
    lock = _lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _lock(path: Path) -> FileLock:
    return FileLock(path, on_acquired=_write_owner, fallback_to_soft=False)


def _write_owner(file: int) -> None:
    """Write this process's number and machine into the lock's file."""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    os.ftruncate(file, 0)
    os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()} since {when}\n".encode(), 0)


def _wait(lock: FileLock, path: Path, reporter: Reporter) -> None:
    owner = path.read_text().strip() or "another process"
    reporter.message(f"{path.parent}: in use by {owner}; waiting until it ends")
    with reporter.progress(f"waiting for {owner}", 1, "process") as advance:

        def is_cancelled() -> bool:
            advance(0)  # raises if the wait is to end
            return False

        lock.acquire(cancel_check=is_cancelled, poll_interval=_QUIET_WAIT_S)
