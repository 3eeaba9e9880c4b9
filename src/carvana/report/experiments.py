"""What was trained: a recipe's finished folds, with their out-of-fold scores and learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from carvana.competition.names import car_and_angle
from carvana.evaluation.scores import ScoreSummary, mean_with_ci, paired_difference
from carvana.runs import RunDir
from carvana.tables import read_csv

UNKNOWN = "unknown"
"""The make of a car that metadata.csv does not name."""


@dataclass(frozen=True)
class Experiment:
    """A recipe and its finished runs, one a fold."""

    name: str
    runs: Sequence[RunDir]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """An out-of-fold photo a row: columns img, dice (0..1), fold, car and angle (1..16)."""
        scores = pd.concat([run.read_scores().assign(fold=run.fold) for run in self.runs], ignore_index=True)
        places = pd.DataFrame(scores["img"].map(car_and_angle).tolist(), columns=["car", "angle"])
        return scores.join(places)

    @cached_property
    def histories(self) -> dict[int, pd.DataFrame]:
        """For each fold an epoch a row, with whatever columns training wrote."""
        return {run.fold: pd.read_csv(run.history) for run in self.runs if run.history.is_file()}


@dataclass(frozen=True)
class RecipeComparison:
    """A recipe beside the best one."""

    name: str
    folds: Sequence[int]
    dice: ScoreSummary
    difference: ScoreSummary | None
    """Of the photos that both have, paired with the best recipe's; None for that one, or where they share none."""


def find_experiments(runs: Path) -> list[Experiment]:
    """All recipes with a finished fold under `runs`, by name."""
    finished = [run for run in map(RunDir, sorted(runs.glob("*/fold-*"))) if run.finished]
    names = dict.fromkeys(run.folder.parent.name for run in finished)
    return [
        Experiment(
            name,
            sorted((run for run in finished if run.folder.parent.name == name), key=lambda run: run.fold),
        )
        for name in names
    ]


def compare_recipes(experiments: Sequence[Experiment]) -> list[RecipeComparison]:
    """The recipes, the best first, each with its paired difference from the best."""
    ranked = sorted(experiments, key=lambda one: -one.scores["dice"].mean())
    return [
        RecipeComparison(
            one.name,
            [run.fold for run in one.runs],
            mean_with_ci(one.scores),
            _difference(one.scores, ranked[0]),
        )
        for one in ranked
    ]


def read_makes(data: Path) -> pd.Series:
    """The make of each car, indexed by car; blanks are `UNKNOWN`. Empty where there is no metadata.csv."""
    path = data / "metadata.csv"
    if not path.is_file():
        return pd.Series(dtype=str)
    table = read_csv(path, ["id", "make"]).drop_duplicates("id").set_index("id")["make"].str.strip()
    return table.where(table != "", UNKNOWN)


def _difference(scores: pd.DataFrame, best: Experiment) -> ScoreSummary | None:
    if scores is best.scores:
        return None
    columns = ["img", "dice"]
    both = scores.loc[scores["img"].isin(best.scores["img"]), columns]
    if both.empty:
        return None
    return paired_difference(both, best.scores.loc[best.scores["img"].isin(both["img"]), columns])
