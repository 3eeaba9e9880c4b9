"""Throughput of the steps of a pipeline, each of which runs in threads of its own."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from carvana.data.prefetch import CORES, prefetch

T = TypeVar("T")
R = TypeVar("R")


class Throughput:
    """Throughput of work that several threads do at the same time."""

    def __init__(self, workers: int = CORES) -> None:
        """Initialize with the number of threads."""
        self._workers = workers
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Set the counted work back to none."""
        self._seconds, self._count = 0.0, 0

    @contextmanager
    def work(self, count: int = 1) -> Iterator[None]:
        """Count the block as one thread's work on `count` items."""
        began = time.perf_counter()
        yield
        with self._lock:
            self._seconds += time.perf_counter() - began
            self._count += count

    def rate(self) -> float:
        """Return the items per second that the threads can do together."""
        return self._count * self._workers / self._seconds if self._seconds else 0.0

    def utilization(self, elapsed: float) -> float:
        """Return the share of `elapsed` seconds, 0..1, that the threads have worked."""
        return min(1.0, self._seconds / self._workers / elapsed)


class PipelineTimer:
    """Runs the steps of a pipeline in threads and measures how busy each is."""

    def __init__(self) -> None:
        """Start measuring now."""
        self._began = time.perf_counter()
        self._throughputs: dict[str, Throughput] = {}

    def map(
        self, name: str, function: Callable[[T], R], items: Iterable[T], *, ahead: int, workers: int = CORES
    ) -> Iterator[R]:
        """Yield `function(item)` for each item, in order, as `prefetch` does, and measure it.

        Args:
            name: the step's name, e.g. "decoding".
            function: called in the step's threads.
            items: results of the step before.
            ahead: number of items in the step at once.
            workers: number of threads.
        """
        return prefetch(self.measured(name, function, workers), items, ahead=ahead, workers=workers)

    def measured(self, name: str, function: Callable[[T], R], workers: int = 1) -> Callable[[T], R]:
        """Return a function that calls `function` and measures it as a step of `workers` threads."""
        throughput = self._throughputs.setdefault(name, Throughput(workers))

        def work(item: T) -> R:
            with throughput.work():
                return function(item)

        return work

    def utilization(self) -> dict[str, float]:
        """Return the share of the time, 0..1, that each step's threads have worked since the start."""
        elapsed = time.perf_counter() - self._began
        return {name: throughput.utilization(elapsed) for name, throughput in self._throughputs.items()}

    def bottleneck(self) -> str:
        """Return the busiest step as a note for people, e.g. "slowest: decoding, 97% busy"."""
        name, share = max(self.utilization().items(), key=lambda item: item[1])
        return f"slowest: {name}, {share:.0%} busy"
