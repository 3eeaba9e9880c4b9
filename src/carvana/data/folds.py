"""Cross-validation folds by car: the 16 views of a car are always in the same fold."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.arguments import command, option, parse_integer
from carvana.errors import UserError
from carvana.files import unused_path
from carvana.tables import TEXT, Number, read_csv, write_csv

MAX_FOLD = 9_999
"""Highest number of a fold."""


def assign_folds(areas: pd.Series, n_folds: int, seed: int = 0) -> pd.Series:
    """Assign cars to folds of equal size, stratified by mask area.

    The cars are sorted by mask area. Of each `n_folds` consecutive cars, each fold gets one, in random order.

    Args:
        areas: mean mask area in pixels, indexed by car.
        n_folds: number of folds, from 2 to the number of cars.
        seed: seed of the random order.

    Returns:
        Fold (0..n_folds-1) of each car, indexed by car, sorted by car.

    Raises:
        UserError: `n_folds` is out of range.
    """
    if not 2 <= n_folds <= len(areas):
        raise UserError(f"{n_folds} folds of {len(areas)} cars: choose from 2 to {len(areas)} folds")
    rng = np.random.default_rng(seed)
    by_area = areas.sort_index().sort_values(kind="stable").index
    folds = [rng.permutation(n_folds) for _ in range(0, len(by_area), n_folds)]
    return pd.Series(np.concatenate(folds)[: len(by_area)], index=by_area, name="fold").sort_index()


def default_table(data: Path, n_folds: int = 5) -> Path:
    """Return the path of the fold table that belongs to a data folder, e.g. `folds/data-5.csv`."""
    return Path("folds") / f"{os.path.basename(os.path.realpath(data))}-{n_folds}.csv"


def write_folds(folds: pd.Series, path: Path) -> None:
    """Write a fold table: columns `car,fold`."""
    write_csv(folds.rename_axis("car").rename("fold").reset_index(), path)


def parse_fold_number(text: str) -> int | None:
    """Parse the number of a fold; None if the text is no such number."""
    return parse_integer(text, 0, MAX_FOLD)


def read_folds(path: Path, data: Path | None = None) -> pd.Series:
    """Read a fold table as the fold of each car, indexed by car.

    Args:
        path: the table.
        data: the data folder, for the message if there is no table.

    Raises:
        UserError: the file is missing or malformed, or contains a car twice.
    """
    if not path.exists():
        split = command("split", *option("--data", data, "data"), "--out", path)
        raise UserError(f"{path}: no such fold table; {split} writes it")
    table = read_csv(path, {"car": TEXT, "fold": Number(0, MAX_FOLD, integer=True)})
    duplicates = table["car"][table["car"].duplicated()]
    if len(duplicates):
        raise UserError(f"{path}: names the car {duplicates.iloc[0]} twice; a car belongs to one fold")
    return table.set_index("car")["fold"]


def select_folds(table: pd.Series, cars: set[str], path: Path, data: Path) -> pd.Series:
    """Select the rows of a fold table for `cars`; other cars of the table are left out.

    Args:
        table: the fold of each car, indexed by car.
        cars: the cars of the data.
        path: the table's file.
        data: the data folder.

    Raises:
        UserError: the table lacks one of `cars`.
    """
    missing = sorted(cars - set(table.index))
    if missing:
        split = command("split", *option("--data", data, "data"), "--out", unused_path(path))
        raise UserError(
            f"{path}: lacks {len(missing)} cars of the data, the first {missing[0]}; {split} writes another table"
        )
    return table[table.index.isin(cars)]
