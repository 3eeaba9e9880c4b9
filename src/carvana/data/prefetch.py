"""Work done ahead of whoever waits for it, in threads, in order, and within bounds."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib

T = TypeVar("T")
R = TypeVar("R")

CORES = joblib.cpu_count()
"""Cores that this process may use, which in a container or a batch job are fewer than the machine has."""


def prefetch(
    function: Callable[[T], R], items: Iterable[T], *, ahead: int, workers: int = CORES
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
    pool = ThreadPoolExecutor(workers)
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
