"""Throughput of overlapping pipeline steps, each in threads of its own."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from carvana.data.prefetch import CORES, prefetch

T = TypeVar("T")
R = TypeVar("R")


class Throughput:
    """How fast work goes that several threads do at a time."""

    def __init__(self, workers: int = CORES) -> None:
        """Start at nothing done, by so many threads."""
        self._workers = workers
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was done."""
        self._seconds, self._count = 0.0, 0

    @contextmanager
    def work(self, count: int = 1) -> Iterator[None]:
        """Count the block as the work on `count` items, by one thread."""
        began = time.perf_counter()
        yield
        with self._lock:
            self._seconds += time.perf_counter() - began
            self._count += count

    def rate(self) -> float:
        """Items a second that the threads can do together."""
        return self._count * self._workers / self._seconds if self._seconds else 0.0

    def share(self, passed: float) -> float:
        """The share of the `passed` seconds, 0..1, that the threads have worked."""
        return min(1.0, self._seconds / self._workers / passed)


class PipelineTimer:
    """Work that goes through several stages, with few pieces waiting between them."""

    def __init__(self) -> None:
        """Begin now."""
        self._began = time.perf_counter()
        self._clocks: dict[str, Throughput] = {}

    def stage(
        self, name: str, function: Callable[[T], R], items: Iterable[T], *, ahead: int, workers: int = CORES
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
        throughput = self._clocks.setdefault(name, Throughput(workers))

        def work(item: T) -> R:
            with throughput.work():
                return function(item)

        return work

    def busy(self) -> dict[str, float]:
        """The share of the time, 0..1, that each stage's threads have worked since the beginning."""
        passed = time.perf_counter() - self._began
        return {name: throughput.share(passed) for name, throughput in self._clocks.items()}

    def slowest(self) -> str:
        """Which stage the others wait for, as a note for people, e.g. "slowest: decoding, 97% busy"."""
        name, share = max(self.busy().items(), key=lambda item: item[1])
        return f"slowest: {name}, {share:.0%} busy"
