"""Wrong pixels by their distance from the true contour: the table `errors.csv` of a run, and its summaries.

Importing this imports no OpenCV; `contour_distance` counts the pixels.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.competition.names import PHOTO_FORM, PHOTO_PATTERN
from carvana.runs import advise_fresh, finished_runs_by_recipe
from carvana.tables import COUNT, DICE, Columns, Text, read_csv

DISTANCES = (2, 4, 8, 16, 32)
"""Upper ends of the bins of distance, in pixels, each belonging to its bin; a last bin lies beyond them."""

COUNT_COLUMNS = (*(f"within_{distance}" for distance in DISTANCES), f"beyond_{DISTANCES[-1]}")
"""Columns of the bins. A pixel is counted once: `within_8` holds distances above 4 and up to 8 pixels."""

BIN_LABELS = (*(f"{low}-{high}" for low, high in pairwise((0, *DISTANCES))), f">{DISTANCES[-1]}")
"""Ranges of distance of the bins, in pixels, as text for people."""

COLUMNS = ("img", "map", "dice", *COUNT_COLUMNS)
"""Columns of `errors.csv`."""

COARSE, REFINED = "coarse", "refined"
"""Values of the column map: the mask from the first network's map, and that from the map after refinement."""

_COLUMN_TYPES: Columns = {
    "img": Text(PHOTO_PATTERN, PHOTO_FORM),
    "map": Text(f"{COARSE}|{REFINED}", f"{COARSE} or {REFINED}"),
    "dice": DICE,
    **dict.fromkeys(COUNT_COLUMNS, COUNT),
}


def error_table(rows: Iterable[tuple[str, str, float, np.ndarray]]) -> pd.DataFrame:
    """Make the table `errors.csv`.

    Args:
        rows: for each photo and map the photo's name, `COARSE` or `REFINED`, the Dice (0..1), and the wrong pixels
            in each bin as `contour_distance.error_counts` returns them.

    Returns:
        `COLUMNS`, one row per photo and map.
    """
    return pd.DataFrame(
        [(img, name, dice, *counts) for img, name, dice, counts in rows], columns=list(COLUMNS)
    )


def read_errors(path: Path) -> pd.DataFrame:
    """Read a table `errors.csv`.

    Raises:
        UserError: the file is missing or malformed.
    """
    with advise_fresh():
        return read_csv(path, _COLUMN_TYPES)[list(COLUMNS)]


def errors_by_recipe(runs: Path) -> dict[str, pd.DataFrame]:
    """Read the errors of each recipe's finished runs in the folder `runs`.

    Returns:
        The rows of all folds by recipe, sorted by recipe. Runs without the table, and recipes without such runs, are
        left out.
    """
    found = {
        recipe: [run.errors for run in finished if run.errors.is_file()]
        for recipe, finished in finished_runs_by_recipe(runs).items()
    }
    return {
        recipe: pd.concat(map(read_errors, paths), ignore_index=True)
        for recipe, paths in found.items()
        if paths
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Summarize the errors of each map.

    Args:
        table: `COLUMNS`.

    Returns:
        One row per map, the coarse one first, indexed by its name. Columns: photos, dice (mean, 0..1), wrong (wrong
        pixels per photo), and for each of `COUNT_COLUMNS` its share of the wrong pixels (0..1; NaN without any).
    """
    by_map = table.groupby("map")  # sorted by name: coarse, refined
    counts = by_map[list(COUNT_COLUMNS)].sum()
    wrong, photos = counts.sum(axis=1), by_map.size()
    means = pd.DataFrame({"photos": photos, "dice": by_map["dice"].mean(), "wrong": wrong / photos})
    return means.join(counts.div(wrong, axis=0))


def most_changed(table: pd.DataFrame, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find the photos whose Dice refinement raised and lowered most.

    Args:
        table: `COLUMNS`.
        count: the number of photos of each kind.

    Returns:
        The photos that it helped, and those that it hurt, the most changed first: up to `count` rows each, with the
        columns img, coarse, refined (Dice of both maps) and difference (refined minus coarse).
    """
    pairs = table.pivot_table("dice", "img", "map").reindex(columns=[COARSE, REFINED]).dropna()
    pairs = pairs.rename_axis(columns=None).reset_index()
    pairs["difference"] = pairs[REFINED] - pairs[COARSE]
    helped, hurt = pairs[pairs["difference"] > 0], pairs[pairs["difference"] < 0]
    return helped.nlargest(count, "difference"), hurt.nsmallest(count, "difference")
