"""CSV tables: one reader with checked columns, and one writer."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carvana.errors import UserError
from carvana.files import atomic_path


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV (or .csv.gz) file as text; empty cells are "".

    Args:
        path: the file.
        columns: the columns that it must have; others are read, too.

    Raises:
        UserError: the file is missing or is not a CSV file, or lacks one of `columns`.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: not a whole CSV file ({str(error).strip()})") from None
    for column in columns:
        if column not in table.columns:
            raise UserError(f"{path}: has no column {column!r}; it has {', '.join(table.columns)}")
    return table


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a CSV file without its index; the file is complete or absent."""
    with atomic_path(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def csv_stem(path: Path) -> Path:
    """Return the path of a CSV file without its ending `.csv` or `.csv.gz`."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".csv"))
