"""Checks before upload: measures that point to wrong masks where the truth is not known.

The competition's winners checked the same: empty masks, cars that are larger in one view than in the others, masks
of several components, and photos on which the folds disagree.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_type_hints

import numpy as np
import pandas as pd

from carvana.competition.names import car_and_angle
from carvana.tables import COUNT, TEXT, Number, Text, csv_stem, read_csv, write_csv

MAX_SUSPECTS = 50
"""Photos on the list of suspects."""

OUTLIER = 5.0
"""Robust standard deviations (1.4826 MAD) above which a view's area is an outlier."""

MIN_RESIDUAL = 0.01
"""Residual of a view's area (a share of the expected one) up to which it is never an outlier."""

MAX_DISAGREEMENT = 0.05
"""Disagreement of the folds, as a share of the car, above which a photo is counted in the table."""

HEADINGS = ["check", "photos", "share", "median", "worst", "photo"]
"""Columns of `table`."""


class Suspect(NamedTuple):
    """A row of the list of suspects: a photo whose mask is most likely wrong."""

    img: str
    reason: str
    area: int
    """Pixels of the mask."""
    share: float
    """Share of the photo that is car."""
    area_residual: float
    """Deviation of the area from what the car's other views let expect, as a share of that."""
    n_components: int
    second_area: int
    """Pixels of the second largest component."""
    disagreement: float
    """Disagreement of the folds, as a share of the car."""


@dataclass(frozen=True)
class _Check:
    """A measure of masks, and the value above which it counts as a failure."""

    column: str
    """Column of the measure; higher is worse."""
    title: str
    """Name of the check in the table."""
    reason: str
    """Reason in the list of suspects."""
    value_format: str
    """Python format of the measure."""
    limit: float = 0.0
    """A photo above it is counted in the table (areas are counted where they are outliers)."""
    suspect_above: float = 0.0
    """A photo above it can become a suspect."""


_CHECKS = (
    _Check("empty", "empty masks", "empty", ".0f"),
    _Check(
        "area_residual",
        f"size off its car's other views by over {OUTLIER:g} sd",
        "size unlike the car's other views",
        ".1%",
    ),
    _Check("second_area", "second largest component [pixels]", "a second component", ",.0f"),
    _Check(
        "n_components",
        "components: more than one",
        "several components",
        ",.0f",
        limit=1,
        suspect_above=1,
    ),
    _Check(
        "disagreement",
        f"folds disagree on over {MAX_DISAGREEMENT:.0%} of the car",
        "the folds disagree",
        ".1%",
        limit=MAX_DISAGREEMENT,
    ),
)


def measure_masks(records: pd.DataFrame) -> pd.DataFrame:
    """Compute the measures of each photo's mask.

    Args:
        records: one photo per row, with the columns img, height, width, area (pixels), n_components, second_area
            (pixels of the second largest component) and disagreement (of the folds, as a share of the car).

    Returns:
        The same table with the columns share (share of the photo that is car), empty (0 or 1), area_residual (how
        much larger or smaller the car is than its other views let expect, as a share, 0 and above) and outlier
        (bool).
    """
    log_residual = _log_area_residual(records)
    deviation = 1.4826 * float(np.median(log_residual))
    return records.assign(
        share=records["area"] / (records["height"] * records["width"]),
        empty=(records["area"] == 0).astype(int),
        area_residual=np.expm1(log_residual),
        outlier=log_residual > max(OUTLIER * deviation, np.log1p(MIN_RESIDUAL)),
    )


def rank_suspects(photos: pd.DataFrame, count: int = MAX_SUSPECTS) -> pd.DataFrame:
    """Choose the photos to look at: the worst by each check in turn, each photo once, with the reason.

    Args:
        photos: the result of `measure_masks`.
        count: the number of photos to choose.

    Returns:
        The columns of `Suspect`.
    """
    rankings = [
        photos[photos[check.column] > check.suspect_above]
        .sort_values([check.column, "img"], ascending=[False, True])
        .assign(reason=check.reason)
        for check in _CHECKS
    ]
    ranked = pd.concat([ranking.assign(rank=np.arange(len(ranking))) for ranking in rankings])
    chosen = ranked.sort_values("rank", kind="stable").drop_duplicates("img").head(count)
    decimals = {"share": 6, "area_residual": 6, "disagreement": 6}
    return chosen[list(Suspect._fields)].round(decimals).reset_index(drop=True)


def suspects_path(submission: Path) -> Path:
    """Return the path of the list of suspects that belongs to a submission."""
    return Path(f"{csv_stem(submission)}-checks.csv")


def write_suspects(photos: pd.DataFrame, path: Path) -> None:
    """Write the list of suspects of the photos that `measure_masks` measured, as a CSV file."""
    write_csv(rank_suspects(photos), path)


def read_suspects(path: Path) -> list[Suspect]:
    """Read a list of suspects, the most suspect first.

    Raises:
        UserError: the file is missing or malformed.
    """
    types: dict[type, Text | Number] = {str: TEXT, int: COUNT, float: Number()}
    columns = {name: types[of_type] for name, of_type in get_type_hints(Suspect).items()}
    table = read_csv(path, columns)[list(columns)]
    return [Suspect(*row) for row in table.itertuples(index=False)]


def table(photos: pd.DataFrame) -> list[list[str]]:
    """Return one row of text per check, under `HEADINGS`, for the photos that `measure_masks` measured."""
    return [_cells(photos, check) for check in _CHECKS]


def _cells(photos: pd.DataFrame, check: _Check) -> list[str]:
    values = photos[check.column]
    failed = photos["outlier"] if check.column == "area_residual" else values > check.limit
    count = int(failed.sum())
    median, highest = (format(value, check.value_format) for value in (values.median(), values.max()))
    photo = photos["img"][values.idxmax()] if count else ""
    return [check.title, f"{count:,}", f"{count / len(photos):.2%}", median, highest, photo]


def _log_area_residual(records: pd.DataFrame) -> pd.Series:
    """Return the absolute residual of each mask's log area after removing the medians of its car and its angle.

    A car fills more of the photo from the side than from the front, and a large car more than a small one: the
    medians by car and by angle are subtracted, twice. Median polish: Tukey, "Exploratory Data Analysis", 1977,
    chapter 11.
    """
    cars, angles = (list(column) for column in zip(*records["img"].map(car_and_angle), strict=True))
    residual = np.log(records["area"].clip(lower=1).astype(float))
    for groups in (cars, angles, cars, angles):
        residual -= residual.groupby(groups).transform("median")
    return residual.abs()
