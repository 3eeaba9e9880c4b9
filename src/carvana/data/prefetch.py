"""Prefetching: results computed ahead of their use, in threads, in order, and with a bounded queue."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import joblib

T = TypeVar("T")
R = TypeVar("R")

CORES = joblib.cpu_count()
"""Number of cores that this process may use; in a container or a batch job these are fewer than the machine's."""


def prefetch(
    function: Callable[[T], R], items: Iterable[T], *, ahead: int, workers: int = CORES
) -> Iterator[R]:
    """Yield `function(item)` for each item, in order, computed in threads ahead of its use.

    Threads suffice because decoding, resizing and encoding release Python's global lock. An exception of `function`
    is raised in place of its result; one of `items` is raised after the results of all items before it.

    Args:
        function: called in a thread.
        items: drawn as results are taken, at most `ahead` further.
        ahead: maximum number of calls that are running or finished before their turn.
        workers: number of threads; by default one per core.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[R]] = deque()
    drawn = iter(items)
    failure: Exception | None = None
    try:
        while True:
            try:
                item = next(drawn)
            except StopIteration:
                break
            except Exception as error:  # raised below, after the results before it
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
