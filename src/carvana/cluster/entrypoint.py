"""Code that runs on the workers: the environment check and the tasks.

`environment_plugin` and `entrypoint` are defined inside functions so that they are pickled whole, not by reference:
the scheduler, and workers that other people use, need not have this project installed.
"""

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from distributed.core import Status

from carvana.console import ProgressCallback
from carvana.tasks import Job, Task

SLOT = "carvana"
"""Resource of which each worker has one, so that it runs one task at a time, of all commands."""

_REPORT_INTERVAL_S = 0.5


def environment_plugin(topic: str, permit: str, check: bytes) -> WorkerPlugin:
    """Create the plugin that checks a worker's environment, and then lets it run the command's tasks.

    Args:
        topic: of the event with the result: `worker`, and `problem`, which is empty for a worker that passed.
        permit: the resource that a worker offers after it passed.
        check: a pickled `EnvironmentCheck`.
    """

    class EnvironmentPlugin(WorkerPlugin):
        def setup(self, worker: Worker) -> None:
            self._worker = worker
            self._checking = asyncio.create_task(self._check())  # a worker must answer while it imports Keras

        async def _check(self) -> None:
            problem = await asyncio.to_thread(self._problem)
            await self._worker.set_resources(**{SLOT: 1, permit: 0 if problem else 1})
            self._worker.log_event(topic, {"worker": self._worker.address, "problem": problem})

        def _problem(self) -> str:
            try:
                found = pickle.loads(check).differences()
            except ModuleNotFoundError as error:
                return f"lacks a module ({error}); `./run.sh dask worker` starts a worker that has all"
            except Exception as error:
                return f"cannot check its environment ({type(error).__name__}: {error})"
            return f"differs in {', '.join(found)}" if found else ""

        def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
            """Reserve the worker's GPU, if it has one; the command that submits cannot know where a task will run."""
            state = self._worker.state
            if finish == "waiting" and "GPU" in state.total_resources:
                required = state.tasks[key].resource_restrictions
                if SLOT in required:
                    required["GPU"] = 1

    return EnvironmentPlugin()


def entrypoint() -> Callable[[str, bytes, bytes], None]:
    """Return `run_task`, as a function that imports it on the worker."""

    def run_carvana_task(topic: str, job: bytes, task: bytes) -> None:
        from carvana.cluster.entrypoint import run_task

        run_task(topic, job, task)

    return run_carvana_task


def run_task(topic: str, job: bytes, task: bytes) -> None:
    """Run a task inside a Dask task.

    Args:
        topic: of the progress events, unique for each command.
        job: pickled; what it loads is kept for the next task.
        task: pickled.

    Raises:
        UserError: raised by the task.
    """
    work: Task = pickle.loads(task)
    reporter = _EventReporter(topic, work.completed())
    with suppress(_CancelledError):
        work.execute(_load(topic, job), reporter)


@lru_cache(maxsize=1)
def _load(topic: str, job: bytes) -> Any:
    """Load a job. The topic is part of the cache's key: models may have been trained again since the last command."""
    loaded: Job = pickle.loads(job)
    return loaded.load()


class _CancelledError(Exception):
    """Ends a task whose command was stopped."""


class _EventReporter:
    """A `Reporter` that sends messages and progress to the command, as events of the scheduler."""

    def __init__(self, topic: str, completed: int) -> None:
        self._topic, self._worker = topic, get_worker()
        self._key = self._worker.get_current_task()
        self._completed = completed
        self._send()

    def message(self, text: str) -> None:
        self._check_cancelled()
        self._send(message=text)

    @contextmanager
    def progress(self, title: str, total: int, unit: str) -> Iterator[ProgressCallback]:
        done, last_note = 0, ""

        def advance(count: int = 1, note: str | None = None) -> None:
            nonlocal done, last_note
            done, self._completed = done + count, self._completed + count
            last_note = last_note if note is None else note
            self._check_cancelled()
            if time.monotonic() - self._last >= _REPORT_INTERVAL_S:
                send()

        def send() -> None:
            ending = f", {last_note}" if last_note else ""
            self._send(status=f"{title}: {done:,}/{total:,} {unit}{ending}")

        send()
        yield advance

    def _send(self, **more: str) -> None:
        self._last = time.monotonic()
        event = {"worker": self._worker.address, "task": self._key, "completed": self._completed, **more}
        self._worker.log_event(self._topic, event)

    def _check_cancelled(self) -> None:
        """End the task if the command was stopped or the scheduler is lost; Dask cannot stop a thread."""
        task = self._worker.state.tasks.get(self._key)
        lost = self._worker.status not in (Status.running, Status.paused)
        if lost or task is None or task.state == "cancelled":
            raise _CancelledError
