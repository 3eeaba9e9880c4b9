"""Folds by car: the 16 views of a car never lie on both sides of a split."""

from pathlib import Path

import numpy as np
import pandas as pd

from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.tables import read_csv


def assign_folds(areas: pd.Series, n_folds: int, seed: int = 0) -> pd.Series:
    """Deal cars to folds so that each fold gets as many cars, and cars as large, as any other.

    The cars are sorted by mask area and taken `n_folds` at a time; each such hand is dealt out in an
    order that the seed shuffles.

    Args:
        areas: mean mask area in pixels, indexed by car.
        n_folds: how many folds, from 2 to the number of cars.
        seed: of the shuffle.

    Returns:
        The fold (0..n_folds-1) of each car, indexed by car, sorted by car.
    """
    if not 2 <= n_folds <= len(areas):
        raise UserError(f"{n_folds} folds of {len(areas)} cars: choose from 2 to {len(areas)} folds")
    random = np.random.default_rng(seed)
    by_area = areas.sort_index().sort_values(kind="stable").index
    hands = [random.permutation(n_folds) for _ in range(0, len(by_area), n_folds)]
    return pd.Series(np.concatenate(hands)[: len(by_area)], index=by_area, name="fold").sort_index()


def write_folds(folds: pd.Series, path: Path) -> None:
    """Write a fold table: columns `car,fold`."""
    with atomic_path(path) as part:
        folds.rename_axis("car").rename("fold").to_csv(part, lineterminator="\n")


def read_folds(path: Path) -> pd.Series:
    """Read a fold table: the fold of each car, indexed by car.

    Raises:
        UserError: the file is missing or malformed, or names a car twice.
    """
    table = read_csv(path, ["car", "fold"])
    twice = table["car"][table["car"].duplicated()]
    if len(twice):
        raise UserError(f"{path}: names the car {twice.iloc[0]} twice; a car lies in one fold only")
    wrong = table["fold"][~table["fold"].str.fullmatch(r"\d+")]
    if len(wrong):
        raise UserError(f"{path}: {wrong.iloc[0]!r} is no fold; folds are numbered 0, 1, 2, ...")
    return table.set_index("car")["fold"].astype(int)


def select_folds(table: pd.Series, cars: set[str], path: Path) -> pd.Series:
    """The part of a fold table that concerns `cars`; cars of the table that are not there are left out.

    Raises:
        UserError: the table (read from `path`) lacks one of `cars`.
    """
    lacking = sorted(cars - set(table.index))
    if lacking:
        raise UserError(f"{path}: lacks {len(lacking)} cars of the data, the first {lacking[0]}; split anew")
    return table[table.index.isin(cars)]
