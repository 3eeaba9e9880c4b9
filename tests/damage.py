"""Damage to files, and processes that use a file at once."""

import multiprocessing
from collections.abc import Callable, Iterable


def flip_bit(content: bytes, place: int, bit: int) -> bytes:
    """Return content with one bit changed: number `bit` (0..7) of the byte at `place`."""
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def run_at_once(function: Callable[..., None], calls: Iterable[tuple]) -> None:
    """Call a module's function in one process per tuple of arguments, at the same time; all must succeed."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=function, args=arguments) for arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
