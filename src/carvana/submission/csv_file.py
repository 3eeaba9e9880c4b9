"""A submission: a gzipped CSV file of `img,rle_mask`, written and checked row by row."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana.competition import rle
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.errors import UserError, prefix_errors
from carvana.evaluation.scores import check_names
from carvana.files import compressed_text
from carvana.tables import TEXT, csv_stem, read_csv_chunks

_COLUMNS = ["img", "rle_mask"]
_CHUNK_ROWS = 2_000
"""Rows that are read into memory at once."""


def fold_path(path: Path, fold: int) -> Path:
    """Return the path of a fold's own submission beside the ensemble's: `x.csv.gz` -> `x-fold0.csv.gz`."""
    stem = csv_stem(path).name
    return path.with_name(f"{stem}-fold{fold}{path.name.removeprefix(stem)}")


@contextmanager
def write_submission(path: Path) -> Iterator[Callable[[str, str], None]]:
    """Open a submission for writing, in an existing folder.

    The same rows always give the same bytes. The file is not whole before the block ends: write to a temporary path.

    Yields:
        A function `write_row(photo, rle)`.
    """
    with compressed_text(path) as text:

        def write_row(photo: str, mask: str) -> None:
            text.write(f"{photo},{mask}\n")

        write_row(*_COLUMNS)
        yield write_row


@dataclass(frozen=True)
class Check:
    """Statistics of a valid submission."""

    photos: int
    empty: int
    """Number of photos with an empty mask."""
    runs: float
    """Mean number of runs per mask."""


def photo_sizes(photos: Sequence[Sample]) -> dict[str, tuple[int, int]]:
    """Read the (height, width) of each photo, by its name, for `check_submission`."""
    return {photo.name: images.photo_size(photo.path) for photo in photos}


def check_submission(path: Path, sizes: Mapping[str, tuple[int, int]]) -> Check:
    """Check that Kaggle would accept a submission.

    Args:
        path: the file (.csv, .gz or .zip).
        sizes: the photos that it must hold, each once, by name: their (height, width), within which masks must lie.

    Raises:
        UserError: a row is missing, unexpected or duplicate, or a mask is malformed or exceeds the photo.
    """
    names, empty, runs = [], 0, 0
    for table in _read_chunks(path):
        names.append(table["img"])
        for name, text in zip(table["img"], table["rle_mask"], strict=True):
            if name not in sizes:
                raise UserError(f"{path}: has a row for {name}, which sample_submission.csv does not list")
            n_runs = _count_runs(path, name, text, sizes[name])
            empty += not n_runs
            runs += n_runs
    all_names = pd.concat(names)
    check_names(all_names, list(sizes), path)
    return Check(len(all_names), empty, runs / len(all_names))


def read_masks(path: Path, photos: Collection[str]) -> dict[str, str]:
    """Read the run-length texts of some photos of a submission, by name; photos that it lacks are left out.

    Raises:
        UserError: the file is missing or malformed.
    """
    chosen = [table[table["img"].isin(photos)] for table in _read_chunks(path)]
    return dict(pd.concat(chosen).to_numpy().tolist())


def _read_chunks(path: Path) -> Iterator[pd.DataFrame]:
    for table in read_csv_chunks(path, dict.fromkeys(_COLUMNS, TEXT), _CHUNK_ROWS):
        if table.columns.tolist() != _COLUMNS:
            raise UserError(f"{path}: has the columns {', '.join(table.columns)}; expected img,rle_mask")
        yield table


def _count_runs(path: Path, name: str, text: str, size: tuple[int, int]) -> int:
    """Return the number of runs of a mask, after checking it."""
    with prefix_errors(f"{path}: {name}"):
        starts, lengths = rle.parse_runs(text)
        rle.check_bounds(starts, lengths, size)
    return len(starts)
