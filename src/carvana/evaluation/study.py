"""A study: recipes trained on the same folds, each with its paired difference from a baseline."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from carvana.errors import UserError
from carvana.evaluation.scores import ScoreSummary, difference_cells, mean_with_ci, paired_difference
from carvana.files import atomic_path
from carvana.recipe import Recipe, check_recipe_name, read_recipe
from carvana.runs import RunDir
from carvana.toml import read_toml

HEADINGS = [
    "recipe",
    "Dice",
    "95% interval",
    "difference",
    "95% interval",
    "parameters",
    "minutes",
]
"""Columns of a study's table."""


class Study(BaseModel):
    """A study's file: its recipes, and the changes that make them comparable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    baseline: str
    """The recipe that the others are compared with."""
    common: tuple[str, ...] = ()
    """`key=value` changes of every recipe."""
    recipes: dict[str, tuple[str, ...]]
    """Further changes of each recipe, by its name or file; `NAME@VARIANT` is another variant of the recipe NAME."""

    def recipe(self, name: str) -> Recipe:
        """Return one of the recipes with the study's changes."""
        changed = read_recipe(name.partition("@")[0], [*self.common, *self.recipes[name]])
        return changed.model_copy(update={"name": _run_name(name)})


def read_study(path: Path) -> Study:
    """Read a study's TOML file.

    Raises:
        UserError: the file is missing or malformed, or lacks its own baseline.
    """
    try:
        study = Study.model_validate(read_toml(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such study") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    if study.baseline not in study.recipes:
        raise UserError(f"{path}: its baseline {study.baseline!r} is not among its recipes")
    names: dict[str, str] = {}
    for key in study.recipes:
        name = _run_name(key)
        check_recipe_name(name, path)
        if name in names:
            raise UserError(f"{path}: {names[name]} and {key}: would be written to the same runs, {name}")
        names[name] = key
    return study


def _run_name(key: str) -> str:
    """Return the name of the runs of one of a study's recipes: of a file, its name without folder and ending."""
    recipe, at, variant = key.partition("@")
    stem = Path(recipe).stem if recipe.endswith(".toml") else recipe
    return f"{stem}{at}{variant}"


@dataclass(frozen=True)
class Result:
    """The result of one recipe."""

    name: str
    dice: ScoreSummary
    difference: ScoreSummary | None
    """Paired difference from the baseline's Dice, photo by photo; None for the baseline itself."""
    parameters: int
    """Number of parameters of its networks for one fold."""
    minutes: float
    """Minutes of the epochs of all folds together, without validation and the cutting of patches."""


def summarize_runs(name: str, runs: Sequence[RunDir], baseline: Sequence[RunDir], parameters: int) -> Result:
    """Summarize a recipe's runs.

    Args:
        name: the recipe's name.
        runs: the recipe's finished runs, one per fold.
        baseline: the baseline's finished runs on the same folds.
        parameters: the number of parameters of the recipe's networks for one fold.
    """
    scores, baseline_scores = (pd.concat([run.read_scores() for run in side]) for side in (runs, baseline))
    seconds = sum(run.read_history()["train_s"].sum() for run in runs)
    is_baseline = [run.folder for run in runs] == [run.folder for run in baseline]
    return Result(
        name=name,
        dice=mean_with_ci(scores),
        difference=None if is_baseline else paired_difference(scores, baseline_scores),
        parameters=parameters,
        minutes=seconds / 60,
    )


def cells(result: Result) -> list[str]:
    """Return a result as cells of text under `HEADINGS`."""
    return [
        result.name,
        result.dice.dice_text(),
        result.dice.interval_text(),
        *difference_cells(result.difference),
        f"{result.parameters:,}",
        f"{result.minutes:.1f}",
    ]


def output_files(path: Path) -> tuple[Path, Path]:
    """Return the page and the figure of a study's file: NAME.md and NAME.png beside NAME.toml."""
    return path.with_suffix(".md"), path.with_suffix(".png")


def check_replaceable(path: Path) -> None:
    """Raise UserError if the page or the figure of a study's file exists, and was not written for this study."""
    page, figure = output_files(path)
    for file, is_own in ((page, _is_page), (figure, _is_figure)):
        if os.path.lexists(file) and not is_own(file, _origin(path)):
            raise UserError(f"{file}: exists, and was not written for {path.name}; move it, or rename {path}")


def write_study(study: Study, results: Sequence[Result], setting: str, path: Path) -> None:
    """Write the study's Markdown page and its figure, a PNG file, beside its file.

    Args:
        study: the study.
        results: one result per recipe, the baseline's first.
        setting: a sentence on data, folds and machine.
        path: the study's file, which page and figure name.
    """
    page, figure = output_files(path)
    with atomic_path(figure) as part:
        draw(study, results, part, _origin(path))
    with atomic_path(page) as part:
        text = f"<!-- {_origin(path)} -->\n\n{markdown(study, results, setting, figure.name)}"
        part.write_text(text, encoding="utf-8")


def _origin(path: Path) -> str:
    """Return the text by which the outputs of a study's file are recognised."""
    return f"Written by `./run.sh study` for {path.name}"


def _is_page(file: Path, origin: str) -> bool:
    return file.is_file() and file.read_text("utf-8", "replace").startswith(f"<!-- {origin} -->\n")


def _is_figure(file: Path, origin: str) -> bool:
    try:
        with Image.open(file) as picture:
            return picture.info.get("Source") == origin
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def markdown(study: Study, results: Sequence[Result], setting: str, figure: str) -> str:
    """Return the study as a Markdown page with its table.

    Args:
        study: the study.
        results: one result per recipe, the baseline's first.
        setting: a sentence on data, folds and machine.
        figure: the file name of the figure, in the folder of the page.
    """
    rows = [f"| {' | '.join(row)} |" for row in (HEADINGS, ["---"] * len(HEADINGS), *map(cells, results))]
    changes = [f"- all: `{change}`" for change in study.common]
    changes += [f"- `{name}`: `{change}`" for name, own in study.recipes.items() for change in own]
    explanation = (
        "Dice is out of fold at the photos' own size, with flips. Differences are paired with "
        f"`{study.baseline}`, photo by photo. Both intervals are 95% bootstrap intervals over cars: they cover the "
        "choice of cars, not the seed of training."
    )
    sections = [
        f"# {study.title}",
        setting,
        explanation,
        f"![Differences from {study.baseline}]({figure})",
        "\n".join(rows),
        "## Changes of the recipes",
        "\n".join(changes),
    ]
    return "\n\n".join(sections).rstrip() + "\n"


def draw(study: Study, results: Sequence[Result], path: Path, origin: str) -> None:
    """Draw the paired differences with their intervals to a PNG file, whose metadata name its origin."""
    compared = [
        (result.name, result.difference) for result in reversed(results) if result.difference is not None
    ]
    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar sign in a name is one
        _draw_differences(study, compared).savefig(path, dpi=120, metadata={"Source": origin})


def _draw_differences(study: Study, compared: Sequence[tuple[str, ScoreSummary]]) -> Figure:
    figure = Figure(figsize=(8, 0.6 + 0.45 * len(compared)), layout="constrained")
    axes = figure.subplots()
    for place, (_, difference) in enumerate(compared):
        axes.plot([difference.low, difference.high], [place, place], color="tab:blue", linewidth=2)
        axes.plot([difference.dice], [place], "o", color="tab:blue")
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(compared)), [name for name, _ in compared])
    axes.set_xlabel(f"Dice minus that of {study.baseline} (95% interval over cars)")
    return figure
