"""The report's page: the contents of its sections, and the file rendered from the template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from carvana.errors import UserError
from carvana.evaluation import errors
from carvana.evaluation.scores import difference_cells, format_dice, format_difference
from carvana.files import atomic_path
from carvana.machine import git_commit
from carvana.report import drawing, figures, gallery
from carvana.report.experiments import UNKNOWN, Experiment, compare_recipes, find_experiments, read_makes
from carvana.report.flagged import FlaggedMask, flagged_masks
from carvana.submission import comparison
from carvana.submission.ledger import Ledger, LedgerRow, utc_now

_TEMPLATE_FOLDER = Path(__file__).parent / "template"

_TEXT_COLUMNS = {
    "recipe",
    "fold",
    "fold table",
    "board",
    "submission",
    "angle",
    "make",
    "map",
    "refinement",
    "photo",
}
"""Headings of columns that hold text; all others hold numbers and are aligned right."""

_MOST_CHANGED = 5
"""Photos of each recipe that are listed as most helped and as most hurt by refinement."""

_COLOURS = {
    "truth": f"rgb{drawing.TRUTH}",
    "mask": f"rgb{drawing.MASK}",
    "missed": f"rgb{drawing.MISSED}",
    "extra": f"rgb{drawing.EXTRA}",
}
"""Colours of the overlays for the style sheet."""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def is_number(self) -> list[bool]:
        """Return for each column whether it holds numbers."""
        return [heading not in _TEXT_COLUMNS for heading in self.headings]


@dataclass(frozen=True)
class Leaderboard:
    """The section on cross-validation and leaderboard."""

    table: Table
    agreement: Table
    figure: Markup


@dataclass(frozen=True)
class Experiments:
    """The sections on recipes, learning curves, and Dice by angle and make."""

    comparison: Table
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
    empty_reason: str
    """The reason why there are no photos."""


def write_report(path: Path, ledger: Ledger, runs: Path, data: Path, *, worst: int) -> None:
    """Write the report: one self-contained HTML file.

    Args:
        path: the file to write.
        ledger: the ledger, in the folder of the submissions.
        runs: the folder of the runs RECIPE/fold-K.
        data: the data folder of the runs.
        worst: the number of photos per run in the gallery.
    """
    rows, experiments, makes = ledger.rows(), find_experiments(runs), read_makes(data)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html").render(
        when=utc_now(),
        commit=git_commit(),
        runs=runs,
        colours=_COLOURS,
        leaderboard=_leaderboard(rows),
        experiments=_experiments(experiments, makes) if experiments else None,
        error_distances=_error_distances(runs),
        worst=_worst_photos(experiments, data, makes, worst),
        flagged=_flagged_photos(rows, ledger.path.parent, data, makes),
    )
    with atomic_path(path) as part:
        part.write_text(html, encoding="utf-8")


def _leaderboard(rows: Sequence[LedgerRow]) -> Leaderboard:
    return Leaderboard(
        table=Table(comparison.HEADINGS, comparison.table(rows)),
        agreement=Table(comparison.AGREEMENT_HEADINGS, comparison.agreement_table(rows)),
        figure=figures.board_figure(comparison.newest(rows)),
    )


def _experiments(experiments: Sequence[Experiment], makes: pd.Series) -> Experiments:
    scores = pd.concat([experiment.scores.assign(recipe=experiment.name) for experiment in experiments])
    scores["make"] = [makes.get(car, UNKNOWN) for car in scores["car"]]
    by_angle = scores.pivot_table("dice", "angle", "recipe", aggfunc="mean")
    by_make = scores.pivot_table("dice", "make", "recipe", aggfunc="mean")
    cars = scores.groupby("make")["car"].nunique()
    return Experiments(
        comparison=_comparison_table(experiments),
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
    headings = ["recipe", "folds", "Dice", "95% interval", "from the best", "95% interval of it", "photos"]
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
    return Table(headings, rows)


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


def _worst_photos(experiments: Sequence[Experiment], data: Path, makes: pd.Series, worst: int) -> Gallery:
    pictures: list[gallery.Picture] = []
    reason = "No run is finished, or no photos of the runs were requested."
    if experiments and worst:
        reason = f"None of the runs' photos is in {data}."
        try:
            pictures = gallery.pictures(experiments, data, makes, worst)
        except UserError as error:
            reason = f"No photos: {error}"
    filters = {name: _values(pictures, name) for name in ("recipe", "fold", "angle")}
    return Gallery(pictures, filters, reason)


def _flagged_photos(rows: Sequence[LedgerRow], folder: Path, data: Path, makes: pd.Series) -> Gallery:
    flagged: list[FlaggedMask] = []
    reason = f"There is no list of such photos beside the submissions in {folder}."
    try:
        flagged = flagged_masks(rows, folder, data, makes)
    except UserError as error:
        reason = f"No photos: {error}"
    newest_first = list(dict.fromkeys(mask.submission for mask in flagged))
    filters = {"submission": newest_first} | {name: _values(flagged, name) for name in ("reason", "angle")}
    return Gallery(flagged, filters, reason)


def _values(cards: Sequence[gallery.Picture] | Sequence[FlaggedMask], name: str) -> list:
    return sorted({getattr(card, name) for card in cards})
