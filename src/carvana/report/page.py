"""The report's page: what goes into the template, and the file that comes of it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.report import drawing, figures, gallery
from carvana.report.experiments import (
    UNKNOWN,
    Experiment,
    RecipeComparison,
    compare_recipes,
    find_experiments,
    read_makes,
)
from carvana.report.flagged import FlaggedMask, flagged_masks
from carvana.submission import comparison
from carvana.submission.ledger import Ledger, LedgerRow, commit, now

_TEMPLATE = Path(__file__).parent / "template"

Table = dict[str, Any]
"""For the template: `headings` and `rows` of text, and for each column whether it holds a `number`."""

_WORDS = {"recipe", "fold", "folds of", "board", "submission", "angle", "make"}
"""Headings of columns that are set left."""


def write_report(path: Path, ledger: Ledger, runs: Path, data: Path, *, worst: int) -> None:
    """Write the report: one HTML file that holds all it shows.

    Args:
        path: the file.
        ledger: in the folder that the submissions lie in.
        runs: where training wrote RECIPE/fold-K.
        data: the data folder that the runs were trained on.
        worst: photos a run in the gallery.
    """
    rows, experiments, makes = ledger.rows(), find_experiments(runs), read_makes(data)
    pictures, no_pictures = _pictures(experiments, data, makes, worst)
    flagged, no_flagged = _flagged(rows, ledger.path.parent, data, makes)
    page = {
        "when": now(),
        "commit": commit(),
        "runs": runs,
        "board": _table(comparison.HEADINGS, comparison.table(rows)),
        "board_figure": _figure(figures.board_figure(comparison.newest(rows))) if rows else "",
        "agreement": _table(comparison.AGREEMENT_HEADINGS, comparison.agreement_table(rows)),
        "recipe_comparisons": _contrast_table(compare_recipes(experiments)),
        "learning": [_figure(text) for one in experiments for text in _learning(one)],
        **_parts(experiments, makes),
        "pictures": [asdict(picture) for picture in pictures],
        "picture_choices": _choices(pictures, "recipe", "fold", "angle"),
        "no_pictures": no_pictures,
        "flagged": [asdict(flagged_mask) for flagged_mask in flagged],
        "flagged_choices": {
            "submission": list(dict.fromkeys(flagged_mask.submission for flagged_mask in flagged)),
            **_choices(flagged, "reason", "angle"),
        },
        "no_flagged": no_flagged,
        "colours": {
            name: f"rgb{colour}"
            for name, colour in (
                ("truth", drawing.TRUTH),
                ("mask", drawing.MASK),
                ("missed", drawing.MISSED),
                ("extra", drawing.EXTRA),
            )
        },
    }
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with atomic_path(path) as part:
        part.write_text(environment.get_template("report.html").render(page), encoding="utf-8")


def _pictures(
    experiments: Sequence[Experiment], data: Path, makes: pd.Series, worst: int
) -> tuple[list[gallery.Picture], str]:
    """The gallery's pictures, or why there are none."""
    if not (experiments and worst):
        return [], "No run was asked for its worst photos."
    try:
        found = gallery.pictures(experiments, data, makes, worst)
    except UserError as error:
        return [], f"No photos: {error}"
    return found, "" if found else f"None of the runs' photos lies in {data}."


def _flagged(
    rows: Sequence[LedgerRow], folder: Path, data: Path, makes: pd.Series
) -> tuple[list[FlaggedMask], str]:
    """The test photos to look at, or why there are none."""
    try:
        found = flagged_masks(rows, folder, data, makes)
    except UserError as error:
        return [], f"No photos: {error}"
    return found, "" if found else f"No list of such photos lies beside the submissions in {folder}."


def _learning(experiment: Experiment) -> list[str]:
    drawn = [
        figures.learning_figure(experiment, "dice", "Dice out of fold"),
        figures.learning_figure(experiment, "loss", "loss", log=True),
    ]
    return [figure for figure in drawn if figure]


def _parts(experiments: Sequence[Experiment], makes: pd.Series) -> dict[str, Any]:
    """Dice by angle and by make, and how it is spread."""
    names = ("angle_figure", "angle", "make_figure", "make", "distribution_figure")
    if not experiments:
        return dict.fromkeys(names)
    scores = pd.concat([one.scores.assign(recipe=one.name) for one in experiments])
    scores["make"] = [makes.get(car, UNKNOWN) for car in scores["car"]]
    cars = scores.groupby("make")["car"].nunique()
    by_angle, by_make = (
        scores.pivot_table("dice", part, "recipe", aggfunc="mean") for part in ("angle", "make")
    )
    return dict(
        zip(
            names,
            (
                _figure(figures.angle_figure(by_angle)),
                _means_table(by_angle, "angle"),
                _figure(figures.make_figure(by_make, cars)) if len(makes) else None,
                _means_table(by_make.assign(cars=cars), "make"),
                _figure(figures.distribution_figure(experiments)),
            ),
            strict=True,
        )
    )


def _means_table(means: pd.DataFrame, part: str) -> Table:
    rows = [
        [str(name), *(str(int(cell)) if column == "cars" else _dice(cell) for column, cell in row.items())]
        for name, row in means.iterrows()
    ]
    return _table([part, *means.columns], rows)


def _contrast_table(compared: Sequence[RecipeComparison]) -> Table:
    headings = ["recipe", "folds", "Dice", "95% interval", "from the best", "95% interval of it", "photos"]
    rows = []
    for one in compared:
        change = one.difference
        rows.append(
            [
                one.name,
                " ".join(map(str, one.folds)),
                _dice(one.dice.dice),
                f"{one.dice.low:.6f} .. {one.dice.high:.6f}",
                f"{change.dice:+.6f}" if change else "",
                f"{change.low:+.6f} .. {change.high:+.6f}" if change else "",
                str(change.photos if change else one.dice.photos),
            ]
        )
    return _table(headings, rows)


def _choices(pictures: Sequence[object], *names: str) -> dict[str, list]:
    """What a gallery can be filtered by."""
    return {name: sorted({getattr(picture, name) for picture in pictures}) for name in names}


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return {"headings": headings, "rows": rows, "number": [heading not in _WORDS for heading in headings]}


def _figure(svg: str) -> Markup:
    return Markup(svg)  # of matplotlib; the names in it are escaped there


def _dice(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.6f}"
