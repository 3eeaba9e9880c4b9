"""Output of the scripts: messages, progress and tables."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

LINE_INTERVAL_S = 15.0
"""Seconds between the plain lines that replace the progress bar where there is no terminal."""


class ProgressCallback(Protocol):
    """Callback for finished work."""

    def __call__(self, count: int = 1, note: str | None = None) -> None:
        """Add `count` finished items. A note is printed after the counts, until the next one."""


class Reporter(Protocol):
    """Receiver of messages and progress: this module, or on a cluster's worker the connection to the command."""

    def message(self, text: str) -> None:
        """Print a line."""

    def progress(self, title: str, total: int, unit: str) -> AbstractContextManager[ProgressCallback]:
        """Report the progress of the block, as `carvana.console.progress` does."""


def message(text: str) -> None:
    """Print a line; a progress bar stays below it."""
    print(text, flush=True)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, e.g. `1 photo` or `1,792 photos`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def on_terminal() -> bool:
    """Return True if the output is a terminal, not a file or another program."""
    return sys.stdout.isatty()


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print a table of text; the first `left` columns are aligned to the left, the others to the right.

    Where a terminal is too narrow, several columns are stacked in one; a number is never broken.
    """
    for stacked in range(1, len(columns) + 1):
        table = _table(title, columns, rows, left, stacked)
        needed = Console(width=1000).measure(table).maximum
        if needed <= Console().width or not on_terminal():
            break
    Console(width=max(Console().width, needed)).print(table)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int, stacked: int
) -> Table:
    """Make a table of text, `stacked` columns of which are one column, in lines below each other."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", show_lines=stacked > 1)

    def stack(cells: Sequence[str]) -> list[str]:
        groups = [cells[first : first + stacked] for first in range(0, len(cells), stacked)]
        return [escape("\n".join(group)) for group in groups]

    for number, heading in enumerate(stack(columns)):
        table.add_column(heading, justify="left" if number * stacked < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*stack(row))
    return table


@contextmanager
def progress(
    title: str, total: int, unit: str, details: Callable[[], Sequence[str]] = lambda: ()
) -> Iterator[ProgressCallback]:
    """Report the progress of the block, with rate and time left: a bar on a terminal, plain lines elsewhere.

    Args:
        title: the kind of work, e.g. "render".
        total: number of items.
        unit: the kind of items, e.g. "photos".
        details: returns lines that are printed below the bar or the plain line.
    """
    reported = _bar(title, total, unit, details) if on_terminal() else _lines(title, total, unit, details)
    with reported as advance:
        yield advance


class DetailedProgress(Progress):
    """Progress bar with plain lines below it."""

    def __init__(self, *columns: ProgressColumn, details: Callable[[], Sequence[str]]) -> None:
        """Create a bar of some columns; `details` returns the lines below it at each update."""
        self._details = details
        super().__init__(*columns, expand=True)

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bar, the note of its task, and the lines below it."""
        yield from super().get_renderables()
        notes = [task.fields["note"] for task in self.tasks if task.fields.get("note")]
        for line in [*notes, *self._details()]:
            yield Text(line, style="dim", no_wrap=True, overflow="ellipsis")


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.1f}/s", style="progress.data.speed")


@contextmanager
def _bar(
    title: str, total: int, unit: str, details: Callable[[], Sequence[str]]
) -> Iterator[ProgressCallback]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with DetailedProgress(*columns, details=details) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(count: int = 1, note: str | None = None) -> None:
            bar.advance(task, count)
            if note is not None:
                bar.update(task, note=note)

        yield advance


@contextmanager
def _lines(
    title: str, total: int, unit: str, details: Callable[[], Sequence[str]]
) -> Iterator[ProgressCallback]:
    started = last_line = time.monotonic()
    done, last_note = 0, ""

    def advance(count: int = 1, note: str | None = None) -> None:
        nonlocal done, last_line, last_note
        done += count
        last_note = last_note if note is None else note
        now = time.monotonic()
        if now - last_line >= LINE_INTERVAL_S:
            last_line = now
            rate = done / (now - started)
            left = (total - done) / rate if rate > 0 else float("inf")
            message(
                f"{title}: {done:,}/{total:,} {unit}, {rate:,.1f}/s, {left:,.0f} s left{_suffix(last_note)}"
            )
            for line in details():
                message(f"  {line}")

    yield advance
    seconds = time.monotonic() - started
    rate = done / seconds if seconds else 0
    message(f"{title}: {done:,} {unit} in {seconds:,.1f} s, {rate:,.1f}/s{_suffix(last_note)}")


def _suffix(note: str) -> str:
    return f"  {note}" if note else ""
