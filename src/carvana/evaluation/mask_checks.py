"""Checks before upload: what tells, without the truth, that a mask may have gone wrong.

The winners looked at the same: empty masks, cars that are larger in one view than in the others, masks in pieces,
and photos on which the folds disagree.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.competition.names import car_and_angle
from carvana.submission.csv_file import submission_stem
from carvana.tables import read_csv, write_csv

MAX_SUSPECTS = 50
"""Photos on the list."""

OUTLIER = 5.0
"""Robust standard deviations (1.4826 MAD) from which on a view's size is an outlier."""

_LISTED = {"img": str, "reason": str, "area": int, "share": float, "area_residual": float} | {
    "n_components": int,
    "second_area": int,
    "disagreement": float,
}
"""The list's columns, and what they hold."""

HEADINGS = ["check", "photos", "share", "median", "worst", "photo"]


@dataclass(frozen=True)
class _Measure:
    column: str
    """Where it lies; a photo is the worse the higher it is."""
    reason: str
    """For people, of a photo that stands out by it."""
    unit: str = ".1%"
    """As Python formats its values."""


_MEASURES = (
    _Measure("empty", "empty", ".0f"),
    _Measure("area_residual", "size unlike the car's other views"),
    _Measure("second_area", "a second piece", ",.0f"),
    _Measure("n_components", "in many pieces", ",.0f"),
    _Measure("disagreement", "the folds disagree"),
)


def measure_masks(facts: pd.DataFrame) -> pd.DataFrame:
    """Each photo's measures.

    Args:
        facts: a photo a row: columns img, height, width, area, pieces, second (pixels of the second largest piece)
            and spread (disagreement of the folds as a share of the car).

    Returns:
        The like, with the columns share (of the photo that is car), empty (0 or 1), off (how much larger or smaller
        the car is than its other views let expect, as a share, 0 and above) and outlier (bool).
    """
    off = _area_residual(facts)
    deviation = 1.4826 * float(np.median(off))
    return facts.assign(
        share=facts["area"] / (facts["height"] * facts["width"]),
        empty=(facts["area"] == 0).astype(int),
        area_residual=np.expm1(off),
        outlier=off > max(OUTLIER * deviation, np.log1p(0.01)),
    )


def rank_suspects(photos: pd.DataFrame, count: int = MAX_SUSPECTS) -> pd.DataFrame:
    """The photos to look at: the worst by each measure, by turns, with the reason.

    Args:
        photos: as `measure_masks` gives them.
        count: how many.
    """
    orders = [
        photos[photos[measure.column] > (1 if measure.column == "n_components" else 0)]
        .sort_values([measure.column, "img"], ascending=[False, True])
        .assign(reason=measure.reason)
        for measure in _MEASURES
    ]
    turns = [order.assign(turn=np.arange(len(order))) for order in orders]
    listed = pd.concat(turns).sort_values("turn", kind="stable").drop_duplicates("img").head(count)
    return (
        listed[list(_LISTED)]
        .round({"share": 6, "area_residual": 6, "disagreement": 6})
        .reset_index(drop=True)
    )


def suspects_path(submission: Path) -> Path:
    """Where the list of the worst photos of a submission lies."""
    return Path(f"{submission_stem(submission)}-checks.csv")


def write_suspects(photos: pd.DataFrame, path: Path) -> None:
    """Write the list of the worst photos as a CSV file."""
    write_csv(rank_suspects(photos), path)


def read_suspects(path: Path) -> pd.DataFrame:
    """Read the list again, as `rank_suspects` gave it.

    Raises:
        UserError: the file is missing, or lacks a column.
    """
    return read_csv(path, list(_LISTED)).astype(_LISTED)


def table(photos: pd.DataFrame) -> list[list[str]]:
    """A row a check, as text under `HEADINGS`."""
    standing_out = {
        "empty": photos["empty"] > 0,
        "area_residual": photos["outlier"],
        "second_area": photos["second_area"] > 0,
        "n_components": photos["n_components"] > 1,
        "disagreement": photos["disagreement"] > 0.05,
    }
    names = {
        "empty": "empty masks",
        "area_residual": f"size off its car's other views by over {OUTLIER:g} sd",
        "second_area": "second largest contour [pixels]",
        "n_components": "contours: more than one",
        "disagreement": "folds disagree on over 5% of the car",
    }
    return [
        _cells(photos, measure, names[measure.column], standing_out[measure.column]) for measure in _MEASURES
    ]


def _cells(photos: pd.DataFrame, measure: _Measure, name: str, standing_out: pd.Series) -> list[str]:
    values = photos[measure.column]
    count = int(standing_out.sum())
    typical, highest = (format(value, measure.unit) for value in (values.median(), values.max()))
    photo = photos["img"][values.idxmax()] if count else ""
    return [name, f"{count:,}", f"{count / len(photos):.2%}", typical, highest, photo]


def _area_residual(facts: pd.DataFrame) -> pd.Series:
    """How far the logarithm of each mask's area lies from what its angle and its car let expect; 0 and above.

    A car seen from the side fills more of the photo than one seen from the front, and a large one more than a small
    one: the car's median and then the angle's are taken away, twice. Median polish, Tukey, "Exploratory Data
    Analysis", 1977, chapter 11.
    """
    cars, angles = (list(each) for each in zip(*facts["img"].map(car_and_angle), strict=True))
    size = np.log(facts["area"].clip(lower=1).astype(float))
    for groups in (cars, angles, cars, angles):
        size -= size.groupby(groups).transform("median")
    return size.abs()
