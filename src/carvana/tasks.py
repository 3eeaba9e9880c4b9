"""Jobs that consist of independent tasks, so that any machine can run any of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from carvana.console import Reporter


class Task(Protocol):
    """One unit of a job's work. It is pickled, and continues where an earlier attempt was stopped."""

    @property
    def name(self) -> str:
        """Name for messages, unique within the job."""

    @property
    def n_samples(self) -> int:
        """Number of photos that the whole task processes."""

    def completed(self) -> int:
        """Return the number of photos that earlier attempts have finished."""

    def execute(self, loaded: Any, reporter: Reporter) -> None:
        """Do the rest of the task, with what `Job.load` returned."""


class Job(Protocol):
    """Everything that a job's tasks have in common. It is pickled."""

    @property
    def title(self) -> str:
        """Title of the progress bar."""

    @property
    def folder(self) -> Path:
        """Folder that the tasks write to."""

    def fingerprint(self) -> dict[str, str]:
        """Return the name and a fingerprint of each input that decides the result, as this process reads it."""

    def load(self) -> Any:
        """Load what every task needs, e.g. models; a process does it once for all its tasks."""


Executor = Callable[[Job, Sequence[Task]], None]
"""Runs all tasks of a job, somewhere, and returns when they are finished."""
