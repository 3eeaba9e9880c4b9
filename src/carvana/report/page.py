"""The report's page: the contents of its sections, and the file rendered from the template."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from carvana.data import images
from carvana.data.dataset import train_samples
from carvana.errors import UserError
from carvana.evaluation import errors
from carvana.evaluation.scores import difference_cells, format_dice, format_difference
from carvana.files import atomic_path
from carvana.machine import git_commit
from carvana.recipe import Recipe
from carvana.report import drawing, figures, gallery, run_details
from carvana.report.experiments import UNKNOWN, Experiment, compare_recipes, find_experiments, read_makes
from carvana.report.flagged import FlaggedMask, flagged_masks
from carvana.report.headline import headline
from carvana.submission import comparison
from carvana.submission.ledger import Ledger, LedgerRow, utc_now
from carvana.templates import load_template

_TEMPLATE = Path(__file__).parent / "template" / "report.html"

_TEXT_COLUMNS = {
    *("recipe", "fold", "fold table", "board", "submission", "angle", "make", "map", "refinement", "photo"),
    *("setting", "machine", "precision", "library"),
}
"""Headings of columns that hold text; all others hold numbers and are aligned right."""

_TITLE = "Carvana segmentation: report"
"""Title of the page, by which a file is recognised as a report."""

_HEAD_BYTES = 4096
"""Bytes of a report within which its title is."""

MAX_BYTES = 20_000_000
"""Bytes of a report, at most, so that it can be sent by mail and opens at once."""

_FLAGGED_SHARE = 0.5
"""Share of the bytes left for photos that test photos may take; held-out photos get the rest."""

_MOST_CHANGED = 5
"""Photos of each recipe that are listed as most helped and as most hurt by refinement."""

_COLOURS = {
    "truth": f"rgb{drawing.TRUTH}",
    "mask": f"rgb{drawing.MASK}",
    "missed": f"rgb{drawing.MISSED}",
    "extra": f"rgb{drawing.EXTRA}",
    "heat": f"linear-gradient(90deg, {', '.join(f'rgb{colour}' for colour in drawing.HEAT_COLOURS[::51])})",
}
"""Colours of the overlays for the style sheet."""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: Collection[str] = frozenset(_TEXT_COLUMNS)
    """Headings of the columns that hold text."""

    @property
    def is_number(self) -> list[bool]:
        """Return for each column whether it holds numbers."""
        return [heading not in self.text_columns for heading in self.headings]

    def without_empty_columns(self) -> "Table":
        """Return the table without the columns in which all cells are empty."""
        kept = [number for number in range(len(self.headings)) if any(row[number] for row in self.rows)]
        return Table(
            [self.headings[number] for number in kept],
            [[row[number] for number in kept] for row in self.rows],
            self.text_columns,
        )


@dataclass(frozen=True)
class Leaderboard:
    """The section on cross-validation and leaderboard."""

    table: Table
    agreement: Table
    figures: Sequence[Markup]


@dataclass(frozen=True)
class Experiments:
    """The sections on recipes, runs, learning curves, and Dice by angle and make."""

    comparison: Table
    notable_settings: Table
    """Settings in which the recipes differ, or those of a single recipe that differ from the defaults."""
    all_settings: Table
    runs: Table
    distribution: Markup
    learning: Sequence[Markup]
    angle_table: Table
    angle_figure: Markup
    make_table: Table
    make_figure: Markup
    """Empty where the makes are not known."""


@dataclass(frozen=True)
class ErrorDistances:
    """The section on where wrong pixels lie."""

    table: Table
    figure: Markup
    changed: Table
    """The photos that refinement helped and hurt most; no rows without refinement."""


@dataclass(frozen=True)
class Gallery:
    """A section of photos with overlays."""

    cards: Sequence[gallery.Picture] | Sequence[FlaggedMask]
    filters: dict[str, list]
    """Values by which the photos can be filtered, by attribute."""
    note: str
    """How many photos are in the page, of how many; or the reason why there are none."""


def write_report(
    path: Path, ledger: Ledger, runs: Path, data: Path, *, worst: int, max_bytes: int = MAX_BYTES
) -> None:
    """Write the report: one self-contained HTML file.

    Args:
        path: the file to write.
        ledger: the ledger, in the folder of the submissions.
        runs: the folder of the runs RECIPE/fold-K.
        data: the data folder of the runs.
        worst: the number of photos per run in the gallery.
        max_bytes: bytes of the file, at most; photos that would exceed them are left out.
    """
    rows, experiments, makes = ledger.rows(), find_experiments(runs), read_makes(data)
    render = partial(
        load_template(_TEMPLATE, autoescape=True).render,
        title=_TITLE,
        when=utc_now(),
        commit=git_commit(),
        runs=runs,
        colours=_COLOURS,
        headline=headline(rows, experiments, ledger.path.parent),
        leaderboard=_leaderboard(rows),
        experiments=_experiments(experiments, makes) if experiments else None,
        data=_describe_data(data),
        error_distances=_error_distances(runs),
    )
    empty = Gallery([], {}, "")
    left = max_bytes - len(render(worst=empty, flagged=empty).encode()) - gallery.CARD_BYTES
    flagged = _flagged_photos(rows, ledger.path.parent, data, makes, int(_FLAGGED_SHARE * left), max_bytes)
    left -= sum(card.n_bytes for card in flagged.cards)
    html = render(worst=_worst_photos(experiments, data, makes, worst, left, max_bytes), flagged=flagged)
    with atomic_path(path) as part:
        part.write_text(html, encoding="utf-8")


def check_replaceable(path: Path) -> None:
    """Raise UserError if a path exists, and is not the file of a report."""
    if os.path.lexists(path) and not _is_report(path):
        raise UserError(f"{path}: exists, and is not a report; move it, or choose another name")


def _is_report(path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return f"<title>{_TITLE}</title>".encode() in file.read(_HEAD_BYTES)


def _describe_data(data: Path) -> str:
    """Describe the photos of a data folder in a sentence; "" if it holds none."""
    try:
        labelled = train_samples(data)
        height, width = images.photo_size(labelled[0].path)
    except UserError:
        return ""
    cars = len({sample.car for sample in labelled})
    n_test = sum(1 for _ in (data / "test").glob("*.jpg"))
    return (
        f"The data folder {data} holds {len(labelled):,} labelled photos of {cars:,} cars, {width}x{height} pixels,"
        f" and {n_test:,} test photos."
    )


def _leaderboard(rows: Sequence[LedgerRow]) -> Leaderboard:
    return Leaderboard(
        table=Table(comparison.HEADINGS, comparison.table(rows)).without_empty_columns(),
        agreement=Table(
            comparison.AGREEMENT_HEADINGS, comparison.agreement_table(rows)
        ).without_empty_columns(),
        figures=figures.board_figures(comparison.newest(rows)),
    )


def _experiments(experiments: Sequence[Experiment], makes: pd.Series) -> Experiments:
    scores = pd.concat([experiment.scores.assign(recipe=experiment.name) for experiment in experiments])
    scores["make"] = [makes.get(car, UNKNOWN) for car in scores["car"]]
    by_angle = scores.pivot_table("dice", "angle", "recipe", aggfunc="mean")
    by_make = scores.pivot_table("dice", "make", "recipe", aggfunc="mean")
    cars = scores.groupby("make")["car"].nunique()
    return Experiments(
        comparison=_comparison_table(experiments),
        notable_settings=_settings_table(experiments, run_details.notable_setting_rows),
        all_settings=_settings_table(experiments, run_details.setting_rows),
        runs=Table(run_details.HEADINGS, run_details.run_rows(experiments)).without_empty_columns(),
        distribution=figures.distribution_figure(experiments),
        learning=[figure for experiment in experiments for figure in _learning_figures(experiment)],
        angle_table=Table(["angle", *by_angle.columns], _mean_rows(by_angle)),
        angle_figure=figures.angle_figure(by_angle),
        make_table=Table(
            ["make", *by_make.columns, "cars"],
            [[*row, str(cars[row[0]])] for row in _mean_rows(by_make)],
        ),
        make_figure=figures.make_figure(by_make, cars) if len(makes) else Markup(""),
    )


def _comparison_table(experiments: Sequence[Experiment]) -> Table:
    headings = [
        "recipe",
        "folds",
        "Dice",
        "95% interval",
        "difference from the best",
        "95% interval of the difference",
        "photos",
    ]
    rows = [
        [
            recipe.name,
            " ".join(map(str, recipe.folds)),
            recipe.dice.dice_text(),
            recipe.dice.interval_text(),
            *difference_cells(recipe.difference),
            str((recipe.difference or recipe.dice).photos),
        ]
        for recipe in compare_recipes(experiments)
    ]
    return Table(headings, rows).without_empty_columns()


def _settings_table(
    experiments: Sequence[Experiment], rows_of: Callable[[Sequence[Recipe]], list[list[str]]]
) -> Table:
    """Return settings of the recipes, a recipe per column."""
    recipes = {experiment.name: experiment.recipe for experiment in experiments if experiment.recipe}
    headings = ["setting", *recipes]
    return Table(headings, rows_of([*recipes.values()]), headings)


def _learning_figures(experiment: Experiment) -> list[Markup]:
    drawn = [
        figures.learning_figure(experiment, "dice", "Dice out of fold"),
        figures.learning_figure(experiment, "loss", "loss", log=True),
    ]
    return [figure for figure in drawn if figure]


def _mean_rows(means: pd.DataFrame) -> list[list[str]]:
    return [[str(name), *map(format_dice, row)] for name, row in means.iterrows()]


def _error_distances(runs: Path) -> ErrorDistances | None:
    """Return the section's contents; None where no run has a table of its errors."""
    tables = errors.errors_by_recipe(runs)
    if not tables:
        return None
    headings = [
        "recipe",
        "map",
        "Dice",
        "wrong pixels per photo",
        *(f"{bin} px" for bin in errors.BIN_LABELS),
    ]
    changed = [row for recipe, table in tables.items() for row in _changed_rows(recipe, table)]
    return ErrorDistances(
        table=Table(headings, comparison.error_rows(tables)),
        figure=figures.error_figure(tables),
        changed=Table(["recipe", "refinement", "photo", "coarse", "refined", "difference"], changed),
    )


def _changed_rows(recipe: str, table: pd.DataFrame) -> list[list[str]]:
    return [
        [
            recipe,
            verb,
            row["img"],
            format_dice(row["coarse"]),
            format_dice(row["refined"]),
            format_difference(row["difference"]),
        ]
        for verb, photos in zip(("helped", "hurt"), errors.most_changed(table, _MOST_CHANGED), strict=True)
        for row in photos.to_dict("records")
    ]


def _worst_photos(
    experiments: Sequence[Experiment], data: Path, makes: pd.Series, worst: int, left: int, max_bytes: int
) -> Gallery:
    if not (experiments and worst):
        return Gallery([], {}, "No run is finished, or no photos of the runs were requested.")
    try:
        pictures = gallery.pictures(experiments, data, makes, worst, left)
    except UserError as error:
        return Gallery([], {}, f"No photos: {error}")
    if not pictures.requested:
        return Gallery([], {}, f"None of the runs' photos is in {data}.")
    note = _photo_count(
        len(pictures.drawn),
        pictures.requested,
        "photos that were requested: the worst of each run",
        max_bytes,
    )
    note = f"{note} All runs together have {pictures.scored:,} held-out photos."
    filters = {name: _values(pictures.drawn, name) for name in ("recipe", "fold", "angle")}
    return Gallery(pictures.drawn, filters, note)


def _flagged_photos(
    rows: Sequence[LedgerRow], folder: Path, data: Path, makes: pd.Series, left: int, max_bytes: int
) -> Gallery:
    try:
        flagged = flagged_masks(rows, folder, data, makes, left)
    except UserError as error:
        return Gallery([], {}, f"No photos: {error}")
    if not flagged.listed:
        return Gallery([], {}, f"There is no list of such photos beside the submissions in {folder}.")
    newest_first = list(dict.fromkeys(mask.submission for mask in flagged.drawn))
    filters = {"submission": newest_first} | {
        name: _values(flagged.drawn, name) for name in ("reason", "angle")
    }
    note = _photo_count(len(flagged.drawn), flagged.listed, "photos that are listed", max_bytes)
    return Gallery(flagged.drawn, filters, note)


def _photo_count(drawn: int, requested: int, description: str, max_bytes: int) -> str:
    """Say how many photos of how many are in the file."""
    reason = (
        f" The others would make the file larger than {max_bytes / 1e6:g} MB." if drawn < requested else ""
    )
    return f"This file contains {drawn:,} of the {requested:,} {description}.{reason}"


def _values(cards: Sequence[gallery.Picture] | Sequence[FlaggedMask], name: str) -> list:
    return sorted({getattr(card, name) for card in cards})
