"""Work in pieces that need not know of each other, so that any machine can do any of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from carvana.console import Reporter


class Piece(Protocol):
    """A part of a job. It goes from process to process, and goes on where another left it."""

    @property
    def name(self) -> str:
        """What people know it by; no other of its job has it."""

    @property
    def size(self) -> int:
        """Photos that go through it."""

    def done(self) -> int:
        """How many of them have gone through it already, for good."""

    def do(self, loaded: Any, reporter: Reporter) -> None:
        """Do what is left of it, with what the job loaded."""


class Job(Protocol):
    """What pieces have in common. It goes from process to process."""

    @property
    def title(self) -> str:
        """What is being done."""

    @property
    def folder(self) -> Path:
        """Where the pieces are written to."""

    def sees(self) -> dict[str, str]:
        """What this process sees of all that decides the result: each thing's name, and a fingerprint of it."""

    def load(self) -> Any:
        """What a process needs to do any number of the pieces."""


Crew = Callable[[Job, Sequence[Piece]], None]
"""Does all pieces of a job, somewhere."""
