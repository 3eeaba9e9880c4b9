"""The error for invalid input of the user."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_LINE_BREAK = re.compile(r"\s*[\r\n]\s*")
_LONG_WORD = re.compile(r"(\S{60})\S{200,}(\S{20})")
"""A word of which a message shows the beginning and the end."""
_MAX_LENGTH = 2_000
"""Characters of a message; longer ones lose their middle."""


class UserError(Exception):
    """Invalid input of the user. The message is one line: what is wrong, where, and what to do.

    Names of files and values of others may contain any character. Line breaks become spaces, other characters that
    are not printable are written as Python's escapes, and words and messages that are too long are shortened.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


@contextmanager
def prefix_errors(place: str) -> Iterator[None]:
    """Prefix the message of a UserError that is raised in the block with the place of the invalid input."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _one_line(message: str) -> str:
    message = _LINE_BREAK.sub(" ", message)
    if not message.isprintable():
        message = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in message)
    message = _LONG_WORD.sub(r"\1...\2", message)
    if len(message) > _MAX_LENGTH:
        half = _MAX_LENGTH // 2
        message = f"{message[:half]} ... {message[-half:]}"
    return message
