"""Details of the runs: the settings of their recipes, and the minutes, the machine and the data of each training."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from carvana.evaluation.scores import format_dice
from carvana.recipe import Recipe
from carvana.report.experiments import Experiment
from carvana.runs import RunDir, RunMetadata

HEADINGS = [
    "recipe",
    "fold",
    "Dice",
    "photos held out",
    "cars held out",
    "photos trained on",
    "cars trained on",
    "fold table",
    "epochs",
    "minutes",
    "machine",
    "precision",
    "library",
]
"""Columns of `run_rows`."""

NOT_SET = "not set"
"""Value of a setting that a recipe does not have, such as that of a second stage."""


def run_rows(experiments: Sequence[Experiment]) -> list[list[str]]:
    """Return one row per run, under `HEADINGS`; cells are empty where a run does not record the value.

    The run on all photos has no held-out photos and no Dice, and its fold is `none`.
    """
    rows = []
    for experiment in experiments:
        rows += [_run_row(experiment, run) for run in experiment.runs]
        on_all_photos = RunDir(experiment.runs[0].folder.parent / "all")
        if on_all_photos.finished:
            rows.append(_row_of_all_photos(experiment, on_all_photos))
    return rows


def settings(recipe: Recipe) -> dict[str, str]:
    """Return the values of all keys of a recipe as text, e.g. `{"stages.0.size": "[288, 432]", ...}`."""
    return dict(_flatten(recipe.model_dump(mode="json", exclude_none=True)))


def setting_rows(recipes: Sequence[Recipe]) -> list[list[str]]:
    """Return one row per setting: its key, and its value in each recipe."""
    of_recipes = [settings(recipe) for recipe in recipes]
    keys = {key: None for values in of_recipes for key in values}  # in the order of the recipes
    return [[key, *(values.get(key, NOT_SET) for values in of_recipes)] for key in keys]


def notable_setting_rows(recipes: Sequence[Recipe]) -> list[list[str]]:
    """Return the rows in which several recipes differ, or those in which a single one differs from the defaults."""
    if len(recipes) > 1:
        return [row for row in setting_rows(recipes) if len(set(row[1:])) > 1]
    defaults = settings(Recipe.model_construct(name="", stages=()))
    return [row for row in setting_rows(recipes) if defaults.get(row[0]) != row[1]]


def changed_settings(before: Recipe, after: Recipe) -> list[str]:
    """List the settings in which a recipe differs from the one before it, as `key: old value -> new value`."""
    return [f"{key}: {old} -> {new}" for key, old, new in setting_rows([before, after]) if old != new]


def _run_row(experiment: Experiment, run: RunDir) -> list[str]:
    scores = experiment.scores[experiment.scores["fold"] == run.fold]
    history = experiment.histories.get(run.fold)
    seconds = None if history is None else history[["train_s", "validation_s"]].to_numpy().sum()
    metadata = run.read_metadata() if run.metadata.is_file() else None
    return [
        experiment.name,
        str(run.fold),
        format_dice(scores["dice"].mean()),
        str(len(scores)),
        str(scores["car"].nunique()),
        _text(metadata and metadata.train_photos),
        _text(metadata and metadata.train_cars),
        _text(metadata and metadata.table),
        "" if history is None else str(len(history)),
        "" if seconds is None else f"{seconds / 60:.1f}",
        _text(metadata and (metadata.machine or metadata.device)),
        *_environment(experiment, metadata),
    ]


def _row_of_all_photos(experiment: Experiment, run: RunDir) -> list[str]:
    metadata, record = run.read_metadata(), run.read_training_record()
    return [
        experiment.name,
        "none",
        *("", "0", "0"),
        str(record.photos),
        str(record.cars),
        metadata.table,
        "",
        f"{record.minutes:.1f}",
        record.machine,
        *_environment(experiment, metadata),
    ]


def _environment(experiment: Experiment, metadata: RunMetadata | None) -> list[str]:
    """Return the precision and the library of a run."""
    precision = (metadata and metadata.precision) or (experiment.recipe and experiment.recipe.precision)
    return [_text(precision), _text(metadata and f"Keras {metadata.keras}, {metadata.backend}")]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _flatten(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of nested tables, joined by dots, and their values as text."""
    if isinstance(value, dict):
        tables: Any = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        tables = enumerate(value)
    else:
        yield key, value if isinstance(value, str) else json.dumps(value)
        return
    for step, inner in tables:
        yield from _flatten(inner, f"{key}.{step}" if key else str(step))
