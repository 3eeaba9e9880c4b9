"""Following of a version's session on Kaggle: its log, line by line, until it has ended."""

import time
from collections.abc import Iterator

from carvana import console
from carvana.errors import UserError
from carvana.kaggle.client import TemporaryError
from carvana.kaggle.kernel import FAILED, RUNNING, Kernel, Status

FIRST_PAUSE_S = 1.0
"""Seconds between the first two requests; each further pause is longer by half."""
_MAX_PAUSE_S = 30.0
_MAX_LOSSES = 20
"""Failed requests in a row, apart from those for the live log, after which following ends; the session goes on."""
LAST_LINES = 15
"""Lines of the log that are shown of a failed session."""


class LogPrinter:
    """Printer of a log whose stream starts again from its beginning after a lost connection."""

    def __init__(self) -> None:
        """Create a printer that has printed nothing."""
        self._printed = 0
        self._rest = ""
        self._refused = False

    def print_live(self, kernel: Kernel, version: int) -> None:
        """Print the log of a running session until it ends, or Kaggle ends the connection, e.g. an idle one."""
        try:
            self.print_new(kernel.stream_log(version))
        except TemporaryError:
            pass
        except UserError as error:
            if not self._refused:
                console.message(f"{error}; without it, the log is printed when the session has ended")
            self._refused = True

    def print_new(self, pieces: Iterator[str]) -> None:
        """Print the whole lines of a log, apart from what was printed before."""
        position = 0
        for piece in pieces:
            new = piece[max(0, self._printed - position) :]
            position += len(piece)
            if new:
                self._printed = position
                self._print(new)

    def _print(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            console.message(line)


def follow(kernel: Kernel, version: int, first_pause_s: float = FIRST_PAUSE_S) -> Status:
    """Print the log of a version's session until it has ended, and return its final status.

    Args:
        kernel: the notebook.
        version: the version's number.
        first_pause_s: the first pause between requests, in seconds.

    Raises:
        UserError: Kaggle refuses, or does not respond for long; the session goes on.
    """
    printer, pause_s, losses, known = LogPrinter(), first_pause_s, 0, ""
    while True:
        try:
            status = kernel.status(version)
            if status.state != known and not status.ended:
                console.message(f"version {version} is {status.state}")
                pause_s = first_pause_s
            known = status.state
            if status.ended:
                log = kernel.log(version)
                printer.print_new(iter([log if log.endswith("\n") else f"{log}\n"]))
                return status
            losses = 0
            if status.state == RUNNING:
                printer.print_live(kernel, version)
        except TemporaryError as error:
            losses += 1
            if losses == 2:  # a single loss is not reported
                console.message(f"{error}; trying again")
            if losses >= _MAX_LOSSES:
                raise UserError(
                    f"{error}; the notebook goes on, and the same command follows it again"
                ) from None
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _MAX_PAUSE_S)


def describe_failure(kernel: Kernel, version: int, status: Status) -> str:
    """Return why a session has no result, and print the last lines of its log.

    Args:
        kernel: the notebook.
        version: the version's number.
        status: the final status, failed or cancelled.
    """
    try:
        lines = kernel.log(version).splitlines()[-LAST_LINES:]
    except UserError as error:
        lines = [str(error)]
    console.message(f"The last lines of its log, {kernel.url}:")
    for line in lines:
        console.message(f"    {line}")
    reason = f" ({status.failure})" if status.failure else ""
    outcome = "failed" if status.state == FAILED else "was cancelled"
    return f"version {version} of {kernel.ref} {outcome}{reason}; nothing was fetched"
