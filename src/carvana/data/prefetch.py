"""Work done ahead of whoever waits for it, in threads, in order, and within bounds."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    function: Callable[[T], R], items: Iterable[T], *, ahead: int, workers: int | None = None
) -> Iterator[R]:
    """Yield `function(item)` for each item, in order, with at most `ahead` results waiting.

    Decoding, resizing and encoding leave Python's lock, so threads suffice. What `function` raises is raised
    here, at its item's turn; what `items` raises, after all that was drawn from it.

    Args:
        function: called in a thread.
        items: drawn from as results are taken, never further than `ahead`.
        ahead: how many calls are under way or done before their turn.
        workers: threads; by default one a core.
    """
    pool = ThreadPoolExecutor(workers or os.cpu_count())
    waiting: deque = deque()
    drawn, failure = iter(items), None
    try:
        while True:
            try:
                item = next(drawn)
            except StopIteration:
                break
            except Exception as error:  # what came before it still has its turn
                failure = error
                break
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)


class Clock:
    """How fast work goes that several threads do at a time."""

    def __init__(self) -> None:
        """Start at nothing done."""
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was done."""
        self._seconds, self._count = 0.0, 0

    @contextmanager
    def work(self, count: int) -> Iterator[None]:
        """Count the block as the work on `count` items, by one thread."""
        began = time.perf_counter()
        yield
        with self._lock:
            self._seconds += time.perf_counter() - began
            self._count += count

    def rate(self, workers: int | None = None) -> float:
        """Items a second that so many threads, by default one a core, can do."""
        return self._count * (workers or os.cpu_count()) / self._seconds if self._seconds else 0.0
