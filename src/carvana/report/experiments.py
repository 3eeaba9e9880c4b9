"""Experiments: the finished folds of each recipe, with their out-of-fold scores and histories."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from carvana.competition.names import car_and_angle
from carvana.evaluation.scores import ScoreSummary, mean_with_ci, paired_difference
from carvana.recipe import Recipe
from carvana.runs import RunDir, finished_runs_by_recipe
from carvana.tables import TEXT, read_csv

UNKNOWN = "unknown"
"""The make of a car that metadata.csv does not list."""


@dataclass(frozen=True)
class Experiment:
    """A recipe and its finished runs, one per fold."""

    name: str
    runs: Sequence[RunDir]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Out-of-fold scores, one photo per row: columns img, dice (0..1), fold, car and angle (1..16)."""
        scores = pd.concat([run.read_scores().assign(fold=run.fold) for run in self.runs], ignore_index=True)
        views = pd.DataFrame(scores["img"].map(car_and_angle).tolist(), columns=["car", "angle"])
        return scores.join(views)

    @cached_property
    def histories(self) -> dict[int, pd.DataFrame]:
        """The training history of each fold, one epoch per row."""
        return {run.fold: run.read_history() for run in self.runs if run.history.is_file()}

    @cached_property
    def recipe(self) -> Recipe | None:
        """The recipe as it was trained, or None if no run holds it."""
        return next((run.read_recipe() for run in self.runs if run.recipe.is_file()), None)

    @property
    def finished(self) -> float:
        """Time at which the newest run was finished, in seconds since 1970."""
        return max(run.scores.stat().st_mtime for run in self.runs)


@dataclass(frozen=True)
class RecipeComparison:
    """A recipe compared with the best one."""

    name: str
    folds: Sequence[int]
    dice: ScoreSummary
    difference: ScoreSummary | None
    """Paired difference from the best recipe on common photos; None for the best one and without common photos."""


def find_experiments(runs: Path) -> list[Experiment]:
    """Find all recipes with a finished fold in the folder `runs`, sorted by name."""
    return [Experiment(name, finished) for name, finished in finished_runs_by_recipe(runs).items()]


def paired_with(experiment: Experiment, baseline: Experiment) -> ScoreSummary | None:
    """Return the paired difference of an experiment from another one; None if they have no common photos."""
    scores, baseline_scores = experiment.scores[["img", "dice"]], baseline.scores[["img", "dice"]]
    common = scores[scores["img"].isin(baseline_scores["img"])]
    if common.empty:
        return None
    return paired_difference(common, baseline_scores[baseline_scores["img"].isin(common["img"])])


def compare_recipes(experiments: Sequence[Experiment]) -> list[RecipeComparison]:
    """Compare recipes by their mean out-of-fold Dice, the best first."""
    ranked = sorted(experiments, key=lambda experiment: -experiment.scores["dice"].mean())
    return [
        RecipeComparison(
            experiment.name,
            [run.fold for run in experiment.runs],
            mean_with_ci(experiment.scores),
            None if experiment is ranked[0] else paired_with(experiment, ranked[0]),
        )
        for experiment in ranked
    ]


def read_makes(data: Path) -> pd.Series:
    """Read the make of each car from metadata.csv, indexed by car; empty where there is no such file."""
    path = data / "metadata.csv"
    if not path.is_file():
        return pd.Series(dtype=str)
    table = (
        read_csv(path, {"id": TEXT, "make": TEXT}).drop_duplicates("id").set_index("id")["make"].str.strip()
    )
    return table.where(table != "", UNKNOWN)
