"""What a script shows: progress while it works, tables, and one line where the input is wrong."""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from carvana.errors import UserError

_LINE_EVERY_S = 15.0
"""Seconds between the plain lines that stand for a bar where there is no terminal."""

ProgressCallback = Callable[..., None]
"""`advance(count=1, note="")`: so many more are done; the note stands beside the bar."""


class Reporter(Protocol):
    """Where work says how far it is: this module, or on a worker of a cluster the way to whoever watches."""

    def message(self, text: str) -> None:
        """Print a line."""

    def progress(self, title: str, total: int, unit: str) -> AbstractContextManager[ProgressCallback]:
        """Reporter how far the work is."""


def run(script: Callable[..., None]) -> None:
    """Run a script's function as a command.

    It exits with 1 and one line where the input is wrong, with 2 where the arguments are, and with 130 where the
    user stopped it.
    """
    command(script)()


def command(script: Callable[..., None]) -> typer.Typer:
    """Build the command that `run` runs, so that tests can call it in their own process."""

    @functools.wraps(script)
    def guarded(*arguments: object, **options: object) -> None:
        try:
            script(*arguments, **options)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print(
                "stopped; what is finished is kept, and the same command goes on from there", file=sys.stderr
            )
            sys.exit(130)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.command()(guarded)
    return app


def message(text: str) -> None:
    """Print a line, above the bar if there is one."""
    print(text, flush=True)


def on_terminal() -> bool:
    """Whether a person watches, rather than a file or another program."""
    return sys.stdout.isatty()


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print a table of text; all columns but the first `left` ones hold numbers and are set right."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    # Wider than the terminal is better than cut: a figure without its end is a wrong figure.
    needed = Console(width=1000).measure(table).maximum
    Console(width=max(Console().width, needed)).print(table)


@contextmanager
def progress(
    title: str, total: int, unit: str, details: Callable[[], Sequence[str]] = lambda: ()
) -> Iterator[ProgressCallback]:
    """Reporter how far the work is, with its rate and the time left: a bar on a terminal, plain lines elsewhere.

    Args:
        title: what is being done.
        total: how many there are to do.
        unit: what they are, e.g. "photos".
        details: gives lines that stand under it.
    """
    shown = _bar(title, total, unit, details) if on_terminal() else _lines(title, total, unit, details)
    with shown as advance:
        yield advance


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.1f}/s", style="progress.data.speed")


class _Bar(Progress):
    """A bar with lines under it."""

    def __init__(self, *columns: ProgressColumn, details: Callable[[], Sequence[str]]) -> None:
        self._below = details
        super().__init__(*columns)

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        for line in self._below():
            yield Text(line, style="dim", no_wrap=True, overflow="ellipsis")


@contextmanager
def _bar(
    title: str, total: int, unit: str, details: Callable[[], Sequence[str]]
) -> Iterator[ProgressCallback]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with _Bar(*columns, details=details) as shown:
        task = shown.add_task(title, total=total, note="")

        def advance(count: int = 1, note: str | None = None) -> None:
            shown.update(task, advance=count, **({} if note is None else {"note": note}))

        yield advance


@contextmanager
def _lines(
    title: str, total: int, unit: str, details: Callable[[], Sequence[str]]
) -> Iterator[ProgressCallback]:
    began = last = time.monotonic()
    done, last_note = 0, ""

    def advance(count: int = 1, note: str | None = None) -> None:
        nonlocal done, last, last_note
        done += count
        last_note = last_note if note is None else note
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            last = now
            rate = done / (now - began)
            left = (total - done) / rate if rate > 0 else float("inf")
            message(
                f"{title}: {done:,}/{total:,} {unit}, {rate:,.1f}/s, {left:,.0f} s left{_ending(last_note)}"
            )
            for line in details():
                message(f"  {line}")

    yield advance
    took = time.monotonic() - began
    rate = done / took if took else 0
    message(f"{title}: {done:,} {unit} in {took:,.1f} s, {rate:,.1f}/s{_ending(last_note)}")


def _ending(note: str) -> str:
    return f"  {note}" if note else ""
