"""A submission: a CSV file of `img,rle_mask`, gzipped, written in a stream and checked in one."""

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana.competition import rle
from carvana.errors import UserError
from carvana.evaluation.scores import check_names
from carvana.files import write_gzipped

_COLUMNS = ["img", "rle_mask"]
_ROWS_AT_ONCE = 2_000


def submission_stem(path: Path) -> Path:
    """A submission's path without its endings, after which what belongs to it is named."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".csv"))


@contextmanager
def write_submission(path: Path) -> Iterator[Callable[[str, str], None]]:
    """Give a function `row(photo, rle)` that writes a row; the file is there once the block ends.

    The same rows give the same bytes.
    """
    with write_gzipped(path) as text:
        text.write(",".join(_COLUMNS) + "\n")
        yield lambda photo, mask: text.write(f"{photo},{mask}\n") and None


@dataclass(frozen=True)
class Check:
    """What a submission that is in order holds."""

    photos: int
    empty: int
    """Photos without a single pixel of car."""
    runs: float
    """Mean number of runs a mask."""


def check_submission(path: Path, photos: Sequence[str], size_of: Callable[[str], tuple[int, int]]) -> Check:
    """Make sure that Kaggle would take a submission.

    Args:
        path: the file (.csv, .gz or .zip).
        photos: the names that it must hold, each once.
        size_of: gives a photo's (height, width), within which its mask must lie.

    Raises:
        UserError: a missing, extra or doubled row, or a mask that is malformed or goes past the photo's end.
    """
    names, empty, runs = [], 0, 0
    wanted = set(photos)
    for table in _tables(path):
        names.append(table["img"])
        for name, text in zip(table["img"], table["rle_mask"], strict=True):
            if name not in wanted:
                raise UserError(f"{path}: has a row for {name}, which is not asked for")
            found = _runs(path, name, text, size_of(name))
            empty += not found
            runs += found
    all_names = pd.concat(names)
    check_names(all_names, list(photos), path)
    return Check(len(all_names), empty, runs / len(all_names))


def read_masks(path: Path, photos: Collection[str]) -> dict[str, str]:
    """The run-length texts of some of a submission's photos, by name, as far as it has them.

    Raises:
        UserError: as `check_submission`, where the file is not there, or not whole.
    """
    chosen = [table[table["img"].isin(photos)] for table in _tables(path)]
    return dict(pd.concat(chosen).to_numpy().tolist())


def _tables(path: Path) -> Iterator[pd.DataFrame]:
    try:
        for table in pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=_ROWS_AT_ONCE):
            if table.columns.tolist() != _COLUMNS:
                raise UserError(f"{path}: has the columns {', '.join(table.columns)}; expected img,rle_mask")
            yield table
    except FileNotFoundError:
        raise UserError(f"{path}: no such submission") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path}: not a whole CSV file ({str(error).strip()})") from None


def _runs(path: Path, name: str, text: str, size: tuple[int, int]) -> int:
    """How many runs a mask has, once it is known to be in order."""
    try:
        starts, lengths = rle.parse_runs(text)
        rle.check_bounds(starts, lengths, size)
    except UserError as error:
        raise UserError(f"{path}: {name}: {error}") from None
    return len(starts)
