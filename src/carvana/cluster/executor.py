"""The executor that runs a job's tasks on the workers of a Dask scheduler.

Dask decides which worker runs a task, and which one runs it again if the worker is lost, up to
`distributed.scheduler.allowed-failures` times. Three things it does not do, so this module does them:

- Dask sends tasks that need a resource to the workers at once, and counts a lost worker against all tasks that wait
  there. So no more tasks are submitted than there are workers.
- Dask does not schedule again when a worker gets a resource later, and its work stealing counts threads, not
  resources. So where a task waits although a worker is free, the scheduler is made to choose again.
- Dask has no pre-condition for a worker. So a worker gets the resource that tasks need after its environment passed.
"""

import pickle
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from distributed import Client, Future, KilledWorker, Scheduler

from carvana import console
from carvana.cluster.connection import check_address, connect
from carvana.cluster.entrypoint import SLOT, entrypoint, environment_plugin
from carvana.cluster.environment import EnvironmentCheck, environment_fingerprint, folder_token
from carvana.errors import UserError
from carvana.tasks import Executor, Job, Task

_POLL_S = 1.0
"""Seconds between two requests for the scheduler's list of workers."""

_FIRST_CHECKS_S = 60.0
"""Longest time to wait for the environment checks of the first workers; one that takes longer joins late."""

_START_S = 2.0
"""Time within which a submitted task starts, unless its worker is busy."""


def dask_executor(address: str) -> Executor:
    """Return an executor for the Dask scheduler at an address, which `connect` describes.

    The executor raises UserError if the scheduler does not answer or is lost, if a worker's environment differs (then
    no task is started), or if tasks failed (then all others are finished).

    Raises:
        UserError: the address is malformed.
    """
    check_address(address)
    return partial(_execute, address)


def _execute(address: str, job: Job, tasks: Sequence[Task]) -> None:
    with connect(address) as client, folder_token(job.folder) as token:
        check = EnvironmentCheck(job, token, environment_fingerprint(job, token))
        _Execution(client, address, check, tasks).run()


@dataclass
class _Submitted:
    """A task that the scheduler has, and the worker that runs it, if any does."""

    task: Task
    future: Future
    since: float
    """Time since which it waits for a worker."""
    worker: str = ""
    status: str = "starts"


class _Execution:
    """The run of a job's tasks. All methods run in one thread; Dask's callbacks only put calls into a queue."""

    def __init__(self, client: Client, address: str, check: EnvironmentCheck, tasks: Sequence[Task]) -> None:
        self._client, self._address, self._check = client, address, check
        self._job = pickle.dumps(check.job)
        self._topic, self._permit = f"carvana-{uuid.uuid4().hex}", f"{SLOT}-{check.digest}"
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._workers: set[str] = set()
        self._ready: set[str] = set()
        self._problems: dict[str, str] = {}
        """Result of each checked worker's environment check; "" for one that passed."""
        self._next_poll = 0.0
        self._started = False
        self._unsubmitted = deque(tasks)
        self._submitted: dict[str, _Submitted] = {}
        self._completed = {task.name: task.completed() for task in tasks}
        self._total = sum(task.n_samples for task in tasks) - sum(self._completed.values())
        self._failures: list[str] = []

    def run(self) -> None:
        """Run the tasks until all have ended."""
        for topic, handle in ((self._topic, self._on_report), ("all", self._on_scheduler_event)):
            self._client.subscribe_topic(topic, lambda event, handle=handle: self._call(handle, event[1]))
        plugin = environment_plugin(self._topic, self._permit, pickle.dumps(self._check))
        try:
            with suppress(OSError):  # a worker left meanwhile
                self._client.register_plugin(plugin, name=self._topic)
            self._await_checks()
            with console.progress(
                self._check.job.title, self._total, "photos", self._details
            ) as self._advance:
                while self._unsubmitted or self._submitted:
                    self._poll()
                    self._submit()
                    self._handle_calls()
        finally:
            self._client.cancel([submitted.future for submitted in self._submitted.values()])
            if self._client.status == "running":
                with suppress(OSError, ValueError):  # a worker left meanwhile, or it was not registered yet
                    self._client.unregister_worker_plugin(self._topic)
        if self._failures:
            raise UserError("; ".join(self._failures))

    def _call(self, method: Callable[..., None], *arguments: object) -> None:
        self._calls.put(partial(method, *arguments))

    def _handle_calls(self) -> None:
        """Wait for a call, but at most until the next poll, and make all calls that are there."""
        with suppress(queue.Empty):
            self._calls.get(timeout=max(0.0, self._next_poll - time.monotonic()))()
            while True:
                self._calls.get_nowait()()

    def _await_checks(self) -> None:
        """Wait for the first worker, and for the checks of all workers that are there."""
        deadline = float("inf")
        while not self._workers or self._workers - self._problems.keys():
            self._poll()
            self._handle_calls()
            if self._ready and time.monotonic() > deadline:
                break
            if self._workers:
                deadline = min(deadline, time.monotonic() + _FIRST_CHECKS_S)
        if problems := [
            self._problem(worker) for worker in sorted(self._workers) if self._problems.get(worker)
        ]:
            raise UserError("; ".join([*problems, "no task was started"]))
        self._started = True
        self._poll(now=True)  # the last worker to pass is not known yet

    def _poll(self, *, now: bool = False) -> None:
        """Update the workers once a second: those that are there, and those that may get tasks."""
        if time.monotonic() < self._next_poll and not now:
            return
        try:
            workers = self._client.scheduler_info()["workers"]
        except (OSError, RuntimeError):
            raise self._scheduler_lost() from None
        if not workers and (self._workers or not self._next_poll):
            console.message(f"there is no worker; to start one: ./run.sh dask worker {self._address}")
        self._workers = set(workers)
        self._ready = {name for name, worker in workers.items() if worker["resources"].get(self._permit)}
        self._next_poll = time.monotonic() + _POLL_S
        self._choose_again()

    def _submit(self) -> None:
        while self._unsubmitted and len(self._submitted) < len(self._ready):
            task = self._unsubmitted.popleft()
            future = self._client.submit(
                entrypoint(),
                self._topic,
                self._job,
                pickle.dumps(task),
                key=f"{task.name} {uuid.uuid4().hex}",
                resources={SLOT: 1, self._permit: 1},
                retries=0,
                pure=False,
            )
            self._submitted[str(future.key)] = _Submitted(task, future, time.monotonic())
            future.add_done_callback(partial(self._call, self._on_end))

    def _choose_again(self) -> None:
        """Let the scheduler choose a worker again for each task that waits although a worker is free."""
        free = self._ready - {submitted.worker for submitted in self._submitted.values()}
        late = time.monotonic() - _START_S
        keys = [key for key, one in self._submitted.items() if not one.worker and one.since < late]
        if not free or not keys:
            return

        def choose_again(dask_scheduler: Scheduler) -> None:
            tasks = [dask_scheduler.tasks[key] for key in keys if key in dask_scheduler.tasks]
            waiting = [task.key for task in tasks if task.state in ("no-worker", "processing")]
            dask_scheduler.transitions(dict.fromkeys(waiting, "released"), stimulus_id="carvana")

        with suppress(OSError, RuntimeError):  # the next poll reports a lost scheduler
            self._client.run_on_scheduler(choose_again)
        for key in keys:
            self._submitted[key].since = time.monotonic()

    def _on_report(self, event: dict[str, Any]) -> None:
        """Handle the result of an environment check, or the progress of a task."""
        if "problem" in event:
            self._problems[event["worker"]] = event["problem"]
            if event["problem"] and self._started:
                console.message(f"{self._problem(event['worker'])}; it gets no task")
            return
        submitted = self._submitted.get(event["task"])
        if submitted is None:
            return
        submitted.worker, submitted.status = event["worker"], event.get("status", submitted.status)
        self._count(submitted.task, event["completed"])
        if "message" in event:
            console.message(f"{submitted.task.name}, {_host_port(submitted.worker)}: {event['message']}")

    def _on_scheduler_event(self, event: dict[str, Any]) -> None:
        """Handle the loss of a worker."""
        if event.get("action") != "remove-worker":
            return
        self._problems.pop(event["worker"], None)
        for key in self._submitted.keys() & set(event["processing-tasks"]):
            lost = self._submitted[key]
            lost.worker, lost.status, lost.since = "", "starts", time.monotonic()
            if lost.future.status == "pending":
                console.message(
                    f"worker {_host_port(event['worker'])} was lost; {lost.task.name} goes to another worker"
                )

    def _on_end(self, future: Future) -> None:
        """Handle the end of a task."""
        if future.status not in ("finished", "error"):
            raise self._scheduler_lost()
        task = self._submitted.pop(str(future.key)).task
        if future.status == "finished":
            self._count(task, task.n_samples)
            return
        self._failures.append(f"{task.name}: {_reason(future.exception())}")
        if self._unsubmitted or self._submitted:
            console.message(f"{self._failures[-1]}; the other tasks continue")

    def _count(self, task: Task, completed: int) -> None:
        self._advance(completed - self._completed[task.name])
        self._completed[task.name] = completed

    def _details(self) -> list[str]:
        running = [submitted for submitted in self._submitted.values() if submitted.worker]
        return [
            f"{_host_port(one.worker)}  {one.status}" for one in sorted(running, key=lambda one: one.worker)
        ]

    def _problem(self, worker: str) -> str:
        return f"worker {_host_port(worker)} {self._problems[worker]}"

    def _scheduler_lost(self) -> UserError:
        return UserError(
            f"the scheduler at {self._address} was lost; what is finished is kept,"
            " and the same command continues from there"
        )


def _reason(error: BaseException) -> str:
    """Return why a task failed."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KilledWorker):
        count = error.allowed_failures + 1
        return f"number of workers lost while they ran it: {count}; check that they have enough memory"
    return f"{type(error).__name__}: {error}; the worker's log has more"


def _host_port(address: str) -> str:
    """Return a worker's address without its protocol."""
    return address.partition("://")[2]
