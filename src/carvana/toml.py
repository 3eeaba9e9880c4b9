"""Reading of TOML files, with one line for everything that can be wrong with them."""

import tomllib
from pathlib import Path
from typing import Any

from carvana.errors import UserError

_MAX_BYTES = 1_000_000
"""Bytes above which a file is not read: recipes and studies have a few thousand."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file cannot be read, or is not a TOML file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a name with a null character
        raise UserError(f"{path}: cannot be read ({error})") from None
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path}: not a TOML file of a recipe or study; it has over {_MAX_BYTES:,} bytes")
    try:
        return parse_toml(content.decode())
    except ValueError as error:
        raise UserError(f"{path}: not a TOML file ({error})") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: the text is not TOML, or has brackets within brackets or numbers that are too long to be parsed.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("too many brackets within brackets") from None
