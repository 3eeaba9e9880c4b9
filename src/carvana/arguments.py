"""Arguments of the command line: bounded numbers and sizes, and commands in messages."""

import shlex
from pathlib import Path

from carvana.errors import UserError


def parse_integer(text: str, minimum: int, maximum: int) -> int | None:
    """Parse a whole number in ASCII digits without a sign; None if it is another text, or out of range.

    `str.isdigit` accepts `²`, which `int` refuses. `int` accepts `1_000` and the digits of other scripts, and refuses
    more than 4,300 digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(maximum)):
        return None
    number = int(text)
    return number if minimum <= number <= maximum else None


def parse_size(text: str, minimum: int, maximum: int) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT, each from `minimum` to `maximum`, into (height, width).

    Raises:
        UserError: the text has another form, or a side is out of range.
    """
    sides = [parse_integer(side, minimum, maximum) for side in text.split("x")]
    if len(sides) != 2 or sides[0] is None or sides[1] is None:
        raise UserError(
            f"--size {text}: expected WIDTHxHEIGHT, each from {minimum} to {maximum}, e.g. 480x320"
        )
    return sides[1], sides[0]


def command(step: str, *arguments: str | Path) -> str:
    """Return a command as messages show it, in backquotes, quoted for a shell.

    >>> command("split", "--data", "my cars")
    "`./run.sh split --data 'my cars'`"
    """
    return f"`{shlex.join(['./run.sh', step, *map(str, arguments)])}`"


def option(name: str, value: str | Path | None, default: str = "") -> list[str]:
    """Return the arguments of an option of `command`; none for its default."""
    return [] if value is None or str(value) == default else [name, str(value)]
