"""What a worker is asked to run."""

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker
from distributed.core import Status

from carvana.cluster.environment import sight
from carvana.console import ProgressCallback
from carvana.tasks import Job, Piece

SLOT = "carvana"
"""A resource of which each worker has one: pieces of several commands take turns."""

_EVERY_S = 0.5
"""Seconds between two reports of how far a piece is."""


async def look(job: bytes, mark: str, token: str, dask_worker: Worker) -> dict[str, str]:
    """What the worker sees, as `sight` has it. It looks while it works."""
    await dask_worker.set_resources(**{SLOT: 1})
    return await asyncio.to_thread(lambda: sight(pickle.loads(job), Path(mark), token))


def errand() -> Callable[[str, bytes, bytes], None]:
    """`do`, as a function that is sent whole: a scheduler need not have this project."""

    def carvana_piece(topic: str, job: bytes, piece: bytes) -> None:
        from carvana.cluster.entrypoint import do

        do(topic, job, piece)

    return carvana_piece


def do(topic: str, job: bytes, piece: bytes) -> None:
    """Do a piece, within a task.

    Args:
        topic: of the events that say how far it is.
        job: pickled; what it loads is kept for the next piece.
        piece: pickled.

    Raises:
        UserError: as the piece does.
    """
    task: Piece = pickle.loads(piece)
    with suppress(_NotWantedError):
        task.do(_loaded(topic, job), _Report(task, topic))


@lru_cache(maxsize=1)
def _loaded(topic: str, job: bytes) -> Any:
    """What a job loads: networks may have been trained anew between two commands, which have topics of their own."""
    loaded: Job = pickle.loads(job)
    return loaded.load()


class _NotWantedError(Exception):
    """The command that wanted the piece is gone."""


class _Report:
    """Where a piece says how far it is: to the scheduler, which tells the command."""

    def __init__(self, piece: Piece, topic: str) -> None:
        self._worker, self._topic, self._name = get_worker(), topic, piece.name
        self._task = self._worker.get_current_task()
        self._done, self._last = piece.done(), 0.0

    def message(self, text: str) -> None:
        self._check_wanted()
        self._send(said=text)

    @contextmanager
    def progress(self, title: str, total: int, unit: str) -> Iterator[ProgressCallback]:
        done, said = 0, ""

        def advance(count: int = 1, note: str | None = None) -> None:
            nonlocal done, said
            done, self._done = done + count, self._done + count
            said = said if note is None else note
            self._check_wanted()
            if time.monotonic() - self._last >= _EVERY_S:
                show()

        def show() -> None:
            self._send(text=f"{title}: {done:,}/{total:,} {unit}{', ' if said else ''}{said}")

        show()
        yield advance

    def _send(self, **more: str) -> None:
        self._last = time.monotonic()
        self._worker.log_event(
            self._topic, {"worker": self._worker.address, "piece": self._name, "done": self._done, **more}
        )

    def _check_wanted(self) -> None:
        """End the piece where the command was stopped or the scheduler is gone: nothing else ends a thread."""
        task = self._worker.state.tasks.get(self._task)
        gone = self._worker.status not in (Status.running, Status.paused)
        if gone or task is None or task.state == "cancelled":
            raise _NotWantedError
