"""The roll of a scheduler's workers: who is there, and who of them sees what this process sees."""

import queue
import threading
import time
from collections.abc import Callable

from distributed import Client

from carvana import console
from carvana.cluster.environment import differences
from carvana.errors import UserError

EVERY_S = 1.0
"""Seconds between two calls of the roll."""

_FIRST_ANSWERS_S = 60.0
"""Seconds that the work waits for all workers' answers; one that takes longer joins late."""


class Roll:
    """Workers, by their addresses."""

    def __init__(self, client: Client, address: str, ours: dict[str, str], ask: Callable[..., dict]) -> None:
        """Ask nobody yet.

        Args:
            client: of the scheduler.
            address: the scheduler's, for people.
            ours: what this process sees, as `sight` has it.
            ask: asks its `workers` what they see.
        """
        self.there: dict[str, dict] = {}
        """What the scheduler knows of each worker."""
        self.ready: set[str] = set()
        """Those that see the same."""
        self._client, self._address, self._ours, self._ask = client, address, ours, ask
        self._asked: set[str] = set()
        self._differing: dict[str, str] = {}
        self._answers: queue.SimpleQueue[tuple[str, dict[str, str] | Exception]] = queue.SimpleQueue()
        self._called = float("-inf")
        self._alone = False

    def gather(self) -> None:
        """Wait for the first workers, and for what all that are there see.

        Raises:
            UserError: one sees something else, or the scheduler is lost.
        """
        until = None
        while not self._asked or self._asked - self.ready - self._differing.keys():
            self.call()
            if self._asked and until is None:
                until = time.monotonic() + _FIRST_ANSWERS_S
            if until is not None and self.ready and time.monotonic() > until:
                break
            time.sleep(0.05)
        if self._differing:
            raise UserError("; ".join([*self._differing.values(), "nothing was begun"]))

    def call(self) -> list[str]:
        """See who is there, once a second, and ask those who are new. A worker joins in one of the next calls.

        Returns:
            What is to be said of those who answered and see something else.

        Raises:
            UserError: the scheduler is lost.
        """
        if time.monotonic() - self._called >= EVERY_S:
            self._called = time.monotonic()
            self._look()
        found = []
        while not self._answers.empty():
            address, answer = self._answers.get()
            if address in self._asked:
                found += self._taken_in(address, answer)
        return found

    def gone(self) -> UserError:
        """What to tell where the scheduler is lost."""
        return UserError(
            f"the scheduler at {self._address} is gone; what is finished is kept, and the same command goes on"
        )

    def _look(self) -> None:
        try:
            self.there = self._client.scheduler_info()["workers"]
        except (OSError, TimeoutError, RuntimeError):
            raise self.gone() from None
        self._asked &= self.there.keys()
        self.ready &= self.there.keys()
        self._differing = {one: text for one, text in self._differing.items() if one in self.there}
        new = sorted(self.there.keys() - self._asked)
        if new:
            self._asked |= set(new)
            threading.Thread(target=self._ask_all, args=(new,), daemon=True).start()
        if not self.there and not self._alone:
            console.message(f"no worker is there; waits for one: ./run.sh dask worker {self._address}")
        self._alone = not self.there

    def _ask_all(self, addresses: list[str]) -> None:
        try:
            answers = self._ask(workers=addresses, on_error="return")
        except Exception as error:  # of the connection; whoever waits is told
            answers = dict.fromkeys(addresses, error)
        for address in addresses:
            self._answers.put((address, answers.get(address, OSError())))

    def _taken_in(self, address: str, answer: dict[str, str] | Exception) -> list[str]:
        """Know what a worker sees; give what is to be said of it."""
        if isinstance(answer, OSError):  # it left meanwhile, or will be asked again
            self._asked.discard(address)
            return []
        if "No module named" in str(answer):
            wrong = f"lacks a part ({answer}); `./run.sh dask worker` starts one that has all"
        elif isinstance(answer, Exception):
            wrong = f"cannot say what it sees ({type(answer).__name__}: {answer})"
        elif found := differences(self._ours, answer):
            wrong = f"differs in {', '.join(found)}"
        else:
            self.ready.add(address)
            return []
        self._differing[address] = f"worker {short(address)} {wrong}"
        return [self._differing[address]]


def short(address: str) -> str:
    """A worker's address, for people."""
    return address.partition("://")[2]
