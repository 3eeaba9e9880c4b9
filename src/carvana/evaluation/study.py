"""A study: recipes side by side on the same folds, each with its paired difference from one of them."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from carvana.errors import UserError
from carvana.evaluation.scores import ScoreSummary, mean_with_ci, paired_difference
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir


class Study(BaseModel):
    """A study's file: which recipes, and what is changed in them to make them comparable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    baseline: str
    """The recipe that the others are compared with."""
    common: tuple[str, ...] = ()
    """`key=value` changes of every recipe."""
    recipes: dict[str, tuple[str, ...]]
    """Further changes of each recipe, by its name; `NAME@WHAT` is a second way to train the recipe NAME."""

    def recipe(self, name: str) -> Recipe:
        """One of its recipes, changed as the study says."""
        changed = read_recipe(name.partition("@")[0], [*self.common, *self.recipes[name]])
        return changed.model_copy(update={"name": name})


def read_study(path: Path) -> Study:
    """Read a study's TOML file.

    Raises:
        UserError: it is missing or malformed, or lacks its own baseline.
    """
    try:
        study = Study(**tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise UserError(f"{path}: no such study") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a TOML file ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    if study.baseline not in study.recipes:
        raise UserError(f"{path}: its baseline {study.baseline!r} is not among its recipes")
    return study


@dataclass(frozen=True)
class Result:
    """What came of one recipe."""

    name: str
    dice: ScoreSummary
    difference: ScoreSummary | None
    """Paired with the baseline's Dice, photo by photo; None for the baseline itself."""
    parameters: int
    minutes: float
    """Of training, all folds together."""
    photos_a_second: float
    """In training, over all its resolutions."""


def summarize_runs(
    name: str, runs: Sequence[RunDir], baseline: Sequence[RunDir], parameters: int, photos: int
) -> Result:
    """Sum up a recipe's runs.

    Args:
        name: the recipe's.
        runs: its finished runs, one a fold.
        baseline: those of the baseline, on the same folds.
        parameters: of one network.
        photos: trained on in an epoch, all folds together.
    """
    scores, others = (pd.concat([run.read_scores() for run in side]) for side in (runs, baseline))
    histories = [pd.read_csv(run.history) for run in runs]
    seconds = sum(history["train_s"].sum() for history in histories)
    same = [run.folder for run in runs] == [run.folder for run in baseline]
    return Result(
        name=name,
        dice=mean_with_ci(scores),
        difference=None if same else paired_difference(scores, others),
        parameters=parameters,
        minutes=seconds / 60,
        photos_a_second=photos * len(histories[0]) / seconds,
    )


HEADINGS = [
    "recipe",
    "Dice",
    "95% interval",
    "difference",
    "95% interval",
    "parameters",
    "minutes",
    "photos/s",
]


def cells(result: Result) -> list[str]:
    """A result as text under `HEADINGS`."""
    difference = result.difference
    return [
        result.name,
        f"{result.dice.dice:.6f}",
        f"{result.dice.low:.6f} .. {result.dice.high:.6f}",
        "" if difference is None else f"{difference.dice:+.6f}",
        "" if difference is None else f"{difference.low:+.6f} .. {difference.high:+.6f}",
        f"{result.parameters:,}",
        f"{result.minutes:.1f}",
        f"{result.photos_a_second:.1f}",
    ]


def markdown(study: Study, results: Sequence[Result], circumstances: str, figure: str) -> str:
    """The study as a Markdown page with its table.

    Args:
        study: what was asked.
        results: the baseline's first.
        circumstances: a sentence on data, folds and machine.
        figure: the picture's file name, beside the page.
    """
    rows = [f"| {' | '.join(row)} |" for row in (HEADINGS, ["---"] * len(HEADINGS), *map(cells, results))]
    changes = "\n".join(f"- all: `{change}`" for change in study.common)
    own = "\n".join(f"- `{name}`: `{change}`" for name, more in study.recipes.items() for change in more)
    reading = (
        "Dice is out of fold at the photos' own size, with flips. A difference is paired with "
        f"`{study.baseline}`, photo by photo; both intervals are 95% bootstraps over cars. They hold the chance of "
        "which cars were drawn, not that of another seed of training."
    )
    picture = f"![Differences from {study.baseline}]({figure})"
    table = "\n".join(rows)
    changed = f"## What was changed in the recipes\n\n{changes}\n{own}"
    return "\n\n".join([f"# {study.title}", circumstances, reading, picture, table, changed.strip()]) + "\n"


def draw(study: Study, results: Sequence[Result], path: Path) -> None:
    """Draw the paired differences with their intervals to a picture file."""
    from matplotlib.figure import Figure  # late: it takes most of a second

    compared = [result for result in results if result.difference is not None]
    figure = Figure(figsize=(8, 0.6 + 0.45 * len(compared)), layout="constrained")
    axes = figure.subplots()
    for place, result in enumerate(reversed(compared)):
        change = result.difference
        axes.plot([change.low, change.high], [place, place], color="tab:blue", linewidth=2)
        axes.plot([change.dice], [place], "o", color="tab:blue")
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(compared)), [result.name for result in reversed(compared)])
    axes.set_xlabel(f"Dice minus that of {study.baseline} (95% interval over cars)")
    figure.savefig(path, dpi=120)
