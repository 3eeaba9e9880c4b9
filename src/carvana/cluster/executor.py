"""The handing out of pieces: one a worker at a time, to workers that see what this machine sees."""

import pickle
import queue
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distributed import Client, Future

from carvana import console
from carvana.cluster.connection import check_address, connected
from carvana.cluster.entrypoint import SLOT, errand, look
from carvana.cluster.environment import sight
from carvana.cluster.workers import EVERY_S, Roll, short
from carvana.errors import UserError
from carvana.locks import file_lock
from carvana.tasks import Crew, Job, Piece

_DEATHS = 3
"""Of workers in a piece; one more, and it is the piece."""


def crew_at(address: str) -> Crew:
    """The workers of the Dask scheduler at an address, as `connected` has it.

    Raises:
        UserError: the address is none. When it works: nobody answers, a worker differs (nothing is begun then), the
            scheduler is lost, or pieces failed (the others are done).
    """
    check_address(address)
    return partial(_work, address)


def _work(address: str, job: Job, pieces: Sequence[Piece]) -> None:
    with connected(address) as client, _marked(job.folder) as (mark, token):
        ask = partial(client.run, look, pickle.dumps(job), str(mark), token)
        roll = Roll(client, address, sight(job, mark, token), ask)
        roll.gather()
        _Foreman(client, roll, job, pieces).work(job.title)


@contextmanager
def _marked(folder: Path) -> Iterator[tuple[Path, str]]:
    """Put a locked file into a folder, by which others know that theirs is the same; give also what it ends with."""
    token = uuid.uuid4().hex
    mark = folder / f".cluster-{token[:8]}"
    try:
        with file_lock(mark, console):
            with open(mark, "a") as file:
                file.write(token + "\n")
            yield mark, token
    finally:
        mark.unlink(missing_ok=True)


@dataclass
class _Busy:
    """A piece that a worker has."""

    piece: Piece
    future: Future
    text: str = "begins"


class _Foreman:
    """Knows what is left, and who has which piece. All its methods but `_tell` run in one thread."""

    def __init__(self, client: Client, roll: Roll, job: Job, pieces: Sequence[Piece]) -> None:
        self._client, self._roll = client, roll
        self._job, self._topic = pickle.dumps(job), f"carvana-{uuid.uuid4().hex}"
        self._left, self._counted = deque(pieces), {piece.name: piece.done() for piece in pieces}
        self._photos = sum(piece.size for piece in pieces) - sum(self._counted.values())
        self._busy: dict[str, _Busy] = {}
        self._deaths: Counter[str] = Counter()
        self._failures: list[str] = []
        self._messages: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def work(self, title: str) -> None:
        """Hand out the pieces until all are done.

        Raises:
            UserError: the scheduler is lost, or some of them failed.
        """
        self._client.subscribe_topic(self._topic, lambda event: self._tell(self._heard, event[1]))
        try:
            with console.progress(title, self._photos, "photos", self._lines) as self._advance:
                while self._left or self._busy:
                    for stranger in self._roll.call():
                        console.message(f"{stranger}; it gets no work")
                    for address in self._busy.keys() - self._roll.there.keys():
                        self._died(address)
                    self._hand_out()
                    self._listen()
        finally:
            self._client.cancel([busy.future for busy in self._busy.values()])
        if self._failures:
            raise UserError("; ".join(self._failures))

    def _tell(self, what: Callable[..., None], *about: object) -> None:
        self._messages.put(partial(what, *about))

    def _listen(self) -> None:
        """Wait until something happened, but not for long, and take it in."""
        try:
            self._messages.get(timeout=EVERY_S / 2)()
            while True:
                self._messages.get_nowait()()
        except queue.Empty:
            return

    def _hand_out(self) -> None:
        """Give each worker that has none a piece."""
        for address in sorted(self._roll.ready - self._busy.keys()):
            if not self._left:
                return
            piece = self._left.popleft()
            has_gpu = "GPU" in self._roll.there[address]["resources"]
            future = self._client.submit(
                errand(),
                self._topic,
                self._job,
                pickle.dumps(piece),
                key=f"{piece.name} {uuid.uuid4().hex}",
                workers=[address],
                resources={SLOT: 1, **({"GPU": 1} if has_gpu else {})},
                pure=False,
            )
            self._busy[address] = _Busy(piece, future)
            future.add_done_callback(partial(self._tell, self._ended, address))

    def _heard(self, event: dict) -> None:
        """Take in how far a piece is."""
        busy = self._busy.get(event["worker"])
        if busy is None or busy.piece.name != event["piece"]:
            return
        self._count(busy.piece, event["done"])
        busy.text = event.get("text", busy.text)
        if "said" in event:
            console.message(f"{busy.piece.name}, {short(event['worker'])}: {event['said']}")

    def _ended(self, address: str, future: Future) -> None:
        """Take in that a piece came to an end."""
        busy = self._busy.get(address)
        if busy is None or busy.future is not future:
            return
        if future.status not in ("finished", "error"):
            raise self._roll.gone()
        del self._busy[address]
        if future.status == "finished":
            self._count(busy.piece, busy.piece.size)
        else:
            self._failed(busy.piece, future.exception())

    def _died(self, address: str) -> None:
        """Take back the piece of a worker that is gone."""
        busy = self._busy.pop(address)
        busy.future.cancel()
        self._deaths[busy.piece.name] += 1
        if self._deaths[busy.piece.name] > _DEATHS:
            self._failed(busy.piece, UserError(f"{_DEATHS + 1} workers died in it; had they enough memory?"))
            return
        console.message(f"worker {short(address)} is gone; {busy.piece.name} goes to another")
        self._left.appendleft(busy.piece)

    def _failed(self, piece: Piece, error: BaseException) -> None:
        text = str(error)
        if not isinstance(error, UserError):
            text = f"{type(error).__name__}: {text}; the worker's log tells more"
        self._failures.append(f"{piece.name}: {text}")
        if self._left or self._busy:
            console.message(f"{self._failures[-1]}; the others go on")

    def _count(self, piece: Piece, done: int) -> None:
        self._advance(done - self._counted[piece.name])
        self._counted[piece.name] = done

    def _lines(self) -> list[str]:
        return [f"{short(address)}  {busy.text}" for address, busy in sorted(self._busy.items())]
