"""Dice scores with bootstrap intervals over cars."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.competition.names import car_id, check_listed_once
from carvana.errors import UserError

RESAMPLES = 10_000
"""Bootstrap samples behind an interval."""


def format_dice(value: float) -> str:
    """Format a Dice score for a table: six decimals, "" for NaN."""
    return "" if np.isnan(value) else f"{value:.6f}"


def format_difference(value: float) -> str:
    """Format a difference of two Dice scores for a table: its sign and six decimals, "" for NaN."""
    return "" if np.isnan(value) else f"{value:+.6f}"


def format_interval(low: str, high: str) -> str:
    """Format an interval for a table from the texts of its ends; "" where they are empty."""
    return f"{low} .. {high}" if low else ""


@dataclass(frozen=True)
class ScoreSummary:
    """A mean Dice, or a mean difference of two Dice scores, with its 95% interval."""

    dice: float
    low: float
    high: float
    photos: int
    """Number of photos behind the mean."""

    def dice_text(self) -> str:
        """Return the mean as text, read as a Dice score."""
        return format_dice(self.dice)

    def interval_text(self) -> str:
        """Return the interval as text, read as Dice scores."""
        return format_interval(format_dice(self.low), format_dice(self.high))

    def difference_text(self) -> str:
        """Return the mean as text with its sign, read as a difference."""
        return format_difference(self.dice)

    def difference_interval_text(self) -> str:
        """Return the interval as text with signs, read as differences."""
        return format_interval(format_difference(self.low), format_difference(self.high))

    def cells(self) -> list[str]:
        """Return the Dice, its interval and the number of photos as cells of a table."""
        return [self.dice_text(), self.interval_text(), str(self.photos)]


def difference_cells(difference: ScoreSummary | None) -> list[str]:
    """Return a difference and its interval as cells of a table, both empty where there is no difference."""
    if difference is None:
        return ["", ""]
    return [difference.difference_text(), difference.difference_interval_text()]


def mean_with_ci(scores: pd.DataFrame, seed: int = 0) -> ScoreSummary:
    """Return the mean Dice of photos and its 95% bootstrap interval over cars.

    Cars are resampled, not photos, because the 16 views of a car are not independent. Percentile bootstrap:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        scores: columns img (a photo's name) and dice (0..1), one photo per row.
        seed: seed of the resampling.
    """
    by_car = scores["dice"].groupby(scores["img"].map(car_id)).agg(["sum", "count"])
    samples = np.random.default_rng(seed).integers(len(by_car), size=(RESAMPLES, len(by_car)))
    sums, counts = by_car["sum"].to_numpy()[samples], by_car["count"].to_numpy()[samples]
    low, high = np.percentile(sums.sum(axis=1) / counts.sum(axis=1), [2.5, 97.5])
    return ScoreSummary(float(scores["dice"].mean()), float(low), float(high), len(scores))


def paired_difference(scores: pd.DataFrame, baseline: pd.DataFrame) -> ScoreSummary:
    """Return the mean of `scores` minus `baseline`, photo by photo, with its interval as in `mean_with_ci`.

    Hard cars are hard for both, so the interval of the difference is narrower than that of either mean.

    Args:
        scores: columns img and dice, one photo per row.
        baseline: the same columns for the same photos.

    Raises:
        UserError: the two tables do not hold the same photos.
    """
    pairs = scores.merge(baseline, on="img", suffixes=("", "_baseline"), validate="one_to_one")
    if not len(pairs) == len(scores) == len(baseline):
        raise UserError(
            f"scores of {len(scores)} and of {len(baseline)} photos have {len(pairs)} photos in common"
        )
    return mean_with_ci(pairs.assign(dice=pairs["dice"] - pairs["dice_baseline"]))


def check_names(names: pd.Series, expected: list[str], path: Path) -> None:
    """Raise UserError where the photos named in the file at `path` are not the expected ones, each once."""
    check_listed_once(names.tolist(), path)
    present = set(names)
    missing = [name for name in expected if name not in present]
    if missing:
        raise UserError(f"{path}: lacks {len(missing)} of {len(expected)} photos, the first {missing[0]}")
    extra = names[~names.isin(expected)]
    if len(extra):
        raise UserError(f"{path}: has {len(extra)} unexpected photos, the first {extra.iloc[0]}")
