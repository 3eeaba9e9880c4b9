"""Scores, and how sure they are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.competition.dice import dice_from_rle
from carvana.competition.names import car_id
from carvana.errors import UserError
from carvana.tables import read_csv

RESAMPLES = 10_000


@dataclass(frozen=True)
class ScoreSummary:
    """A mean Dice with its 95% interval."""

    dice: float
    low: float
    high: float
    photos: int

    def cells(self) -> list[str]:
        """The Dice, its interval and the number of photos, as text for a table."""
        return [f"{self.dice:.6f}", f"{self.low:.6f} .. {self.high:.6f}", str(self.photos)]


def mean_with_ci(scores: pd.DataFrame, seed: int = 0) -> ScoreSummary:
    """The mean Dice of photos, and its 95% bootstrap interval over cars.

    Cars are drawn, not photos: the 16 views of a car are not independent. Percentile bootstrap, Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        scores: columns img and dice, a photo a row.
        seed: of the draws.
    """
    by_car = scores["dice"].groupby(scores["img"].map(car_id)).agg(["sum", "count"])
    drawn = np.random.default_rng(seed).integers(len(by_car), size=(RESAMPLES, len(by_car)))
    sums, counts = by_car["sum"].to_numpy()[drawn], by_car["count"].to_numpy()[drawn]
    low, high = np.percentile(sums.sum(axis=1) / counts.sum(axis=1), [2.5, 97.5])
    return ScoreSummary(float(scores["dice"].mean()), float(low), float(high), len(scores))


def paired_difference(scores: pd.DataFrame, baseline: pd.DataFrame) -> ScoreSummary:
    """How much higher `scores` are than `baseline` on the same photos, as `mean_with_ci` has it.

    Hard cars are hard for both, so the difference is far surer than either mean.

    Raises:
        UserError: the two do not hold the same photos.
    """
    pairs = scores.merge(baseline, on="img", suffixes=("", "_baseline"), validate="one_to_one")
    if not len(pairs) == len(scores) == len(baseline):
        raise UserError(f"scores of {len(scores)} and of {len(baseline)} photos have {len(pairs)} in common")
    return mean_with_ci(pairs.assign(dice=pairs["dice"] - pairs["dice_baseline"]))


def score_submission(submission: Path, truth: Path) -> pd.DataFrame:
    """Score a submission against known masks.

    Args:
        submission: a CSV file, columns img and rle_mask.
        truth: the like, with a column Usage (Public or Private) where the photos are split into boards.

    Returns:
        Columns img and dice, and Usage where the truth has it; a photo of the truth a row, in its order.

    Raises:
        UserError: the two do not hold the same photos, each once, or a mask is malformed.
    """
    masks = read_csv(submission, ["img", "rle_mask"])
    truths = read_csv(truth, ["img", "rle_mask"])
    check_names(masks["img"], truths["img"].tolist(), submission)
    pairs = truths.merge(masks, on="img", how="left", suffixes=("", "_submitted"), validate="one_to_one")
    rows = zip(pairs["img"], pairs["rle_mask"], pairs["rle_mask_submitted"], strict=True)
    pairs["dice"] = [_dice(*row, submission) for row in rows]
    return pairs[[column for column in ("img", "dice", "Usage") if column in pairs]]


def check_names(names: pd.Series, wanted: list[str], path: Path) -> None:
    """Raise UserError where the rows of the file at `path` are not the wanted photos, each once."""
    twice = names[names.duplicated()]
    if len(twice):
        raise UserError(f"{path}: has {twice.iloc[0]} more than once ({len(twice)} rows too many)")
    held = set(names)
    missing = [name for name in wanted if name not in held]
    if missing:
        raise UserError(f"{path}: lacks {len(missing)} of {len(wanted)} photos, the first {missing[0]}")
    extra = names[~names.isin(wanted)]
    if len(extra):
        raise UserError(f"{path}: has {len(extra)} photos that are not asked for, the first {extra.iloc[0]}")


def _dice(name: str, truth: str, submitted: str, path: Path) -> float:
    try:
        return dice_from_rle(truth, submitted)
    except UserError as error:
        raise UserError(f"{path}: {name}: {error}") from None
