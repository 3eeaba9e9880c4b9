"""Stages of work that overlap, each in its own threads, and which of them the others wait for."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from carvana.data.prefetch import prefetch

T = TypeVar("T")
R = TypeVar("R")


class Stages:
    """Work that goes through several stages, with few pieces waiting between them."""

    def __init__(self) -> None:
        """Begin now."""
        self._began = time.perf_counter()
        self._busy: dict[str, float] = {}
        self._lock = threading.Lock()

    def stage(
        self, name: str, function: Callable[[T], R], items: Iterable[T], *, ahead: int, workers: int
    ) -> Iterator[R]:
        """Yield `function(item)` for each item, in order, as `prefetch` does, and note how busy it is.

        Args:
            name: what the stage does, e.g. "decoding".
            function: called in a thread of the stage's own.
            items: the results of the stage before.
            ahead: how many pieces lie in it at once.
            workers: threads.
        """
        return prefetch(self.timed(name, function, workers), items, ahead=ahead, workers=workers)

    def timed(self, name: str, function: Callable[[T], R], workers: int = 1) -> Callable[[T], R]:
        """The like of `function` that notes how long it takes, as the work of a stage of so many threads."""
        self._busy.setdefault(name, 0.0)

        def work(item: T) -> R:
            began = time.perf_counter()
            try:
                return function(item)
            finally:
                with self._lock:
                    self._busy[name] += (time.perf_counter() - began) / workers

        return work

    def busy(self) -> dict[str, float]:
        """The share of the time, 0..1, that each stage's threads have worked since the beginning."""
        passed = time.perf_counter() - self._began
        with self._lock:
            return {name: min(1.0, busy / passed) for name, busy in self._busy.items()}

    def slowest(self) -> str:
        """Which stage the others wait for, as a note for people, e.g. "slowest: decoding, 97% busy"."""
        name, share = max(self.busy().items(), key=lambda item: item[1])
        return f"slowest: {name}, {share:.0%} busy"
