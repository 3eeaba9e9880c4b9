"""CSV tables with typed columns: one reader, and one writer."""

import lzma
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.errors import UserError
from carvana.files import atomic_path

_COMPRESSION = {".gz": "gzip", ".zip": "zip"}
"""Compression of a table by the ending of its name; other endings are not compressed."""

_INVALID = (EOFError, RuntimeError, ValueError, Warning, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
"""Errors of pandas and of the decompression on files that are not a whole table."""


@dataclass(frozen=True)
class Text:
    """A column of text."""

    pattern: str = ""
    """Regular expression that each whole cell must match; by default any text."""
    expected: str = ""
    """What the pattern describes, for the error message, e.g. "a car of 12 hex digits"."""


@dataclass(frozen=True)
class Number:
    """A column of finite numbers."""

    low: float = -math.inf
    """Smallest value."""
    high: float = math.inf
    """Largest value."""
    integer: bool = False
    optional: bool = False
    """Allow empty cells, which are read as NaN."""


Columns = Mapping[str, Text | Number]

_MAX_COUNT = 10**15
"""Bound of counts that a float represents exactly."""

TEXT = Text()
"""A column of any text."""
DICE = Number(0, 1)
"""A column of Dice scores."""
COUNT = Number(0, _MAX_COUNT, integer=True)
"""A column of counts."""


def read_csv(path: Path, columns: Columns) -> pd.DataFrame:
    """Read a CSV file (.csv, .csv.gz or .zip).

    Args:
        path: the file.
        columns: the columns that it must have. Others are read as text, too.

    Returns:
        The columns of `columns` as str, float64 or int64; empty text is "". Other columns are str.

    Raises:
        UserError: the file is missing or is not a whole CSV file, lacks one of `columns`, or has an invalid cell,
            which the message names by its column and row.
    """
    (table,) = _read(path, columns, None)
    return table


def read_csv_chunks(path: Path, columns: Columns, rows: int) -> Iterator[pd.DataFrame]:
    """Read a CSV file as `read_csv` does, in tables of at most `rows` rows; a table without rows gives one."""
    yield from _read(path, columns, rows)


def check_column(path: Path, cells: pd.Series, column: Text | Number) -> pd.Series:
    """Return the cells of a column, str, as `read_csv` does.

    Args:
        path: the file, for the error message.
        cells: the cells, with the column's name as its name, indexed by the number of the row (from 0).
        column: the type of the column.

    Raises:
        UserError: a cell is invalid.
    """
    if isinstance(column, Number):
        return _numbers(path, cells, column)
    if column.pattern:
        _refuse(path, cells, ~cells.str.fullmatch(column.pattern), column.expected)
    return cells


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a CSV file without its index; the file is complete or absent."""
    with atomic_path(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def csv_stem(path: Path) -> Path:
    """Return the path of a CSV file without its ending `.csv` or `.csv.gz`."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".csv"))


def _read(path: Path, columns: Columns, rows: int | None) -> Iterator[pd.DataFrame]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more cells than the header
            with pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8",
                compression=_COMPRESSION.get(path.suffix.lower()),
                chunksize=rows or 2**62,
            ) as tables:
                for table in tables:
                    yield _typed(path, table, columns)
    except UserError:
        raise
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = error.strerror or f"not a whole CSV file: {error}"
        raise UserError(
            f"{path}: no such file" if missing else f"{path}: cannot be read ({reason})"
        ) from None
    except _INVALID as error:
        raise UserError(f"{path}: not a whole CSV file ({' '.join(str(error).split())})") from None


def _typed(path: Path, table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Check the columns of a table, str, and convert them."""
    for name in columns:
        if name not in table.columns:
            raise UserError(f"{path}: has no column {name!r}; it has {', '.join(map(str, table.columns))}")
    return table.assign(**{name: check_column(path, table[name], column) for name, column in columns.items()})


def _numbers(path: Path, cells: pd.Series, column: Number) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    empty = (cells == "") & column.optional
    valid = numbers.between(column.low, column.high) & np.isfinite(numbers)
    if column.integer:
        valid &= cells.str.fullmatch(r"[+-]?[0-9]{1,18}")
    kind = "a whole number" if column.integer else "a number"
    _refuse(path, cells, ~(valid | empty), f"{kind}{_range(column)}")
    return numbers.astype(np.int64) if column.integer and not column.optional else numbers


def _range(column: Number) -> str:
    """Return the range of a column of numbers as text for people."""
    if math.isinf(column.low):
        return ""
    upper = "" if column.high >= _MAX_COUNT else f" to {column.high:g}"
    return f" from {column.low:g}{upper}"


def _refuse(path: Path, cells: pd.Series, invalid: pd.Series, expected: str) -> None:
    """Raise UserError for the first invalid cell."""
    if invalid.any():
        row = invalid.idxmax()
        cell = str(cells[row])
        shown = cell if len(cell) <= 40 else f"{cell[:37]}..."
        raise UserError(f"{path}: row {row + 1}: {cells.name} is {shown!r}; expected {expected}")
