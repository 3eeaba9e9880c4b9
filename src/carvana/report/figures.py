"""The report's figures, as SVG in the page's text colour, so that they are readable in light and dark mode."""

import io
import re
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from carvana.evaluation import errors
from carvana.report.experiments import Experiment
from carvana.submission.ledger import LedgerRow

COLOURS = ("#2f7ed8", "#e8793a", "#2aa876", "#b667d6", "#d1495b", "#9a8a00", "#00a0b0", "#a07860")
"""Colours of the series, distinguishable on white and on black."""

_WIDTH = 4.8
"""Width in inches: narrow enough for readable text on a phone."""


def board_figure(rows: Sequence[LedgerRow]) -> Markup:
    """Draw CV with its interval and the public and private score, one submission per line; "" without any score."""
    scored = [row for row in rows if row["cv_dice"] or row["public"] or row["private"]]
    if not scored:
        return Markup("")

    def draw(axes: Axes) -> None:
        for place, row in enumerate(scored):
            if row["cv_low"] and row["cv_high"]:
                axes.hlines(place, float(row["cv_low"]), float(row["cv_high"]), color=COLOURS[0], linewidth=2)
        for column, marker, colour, label in (
            ("cv_dice", "o", COLOURS[0], "CV, 95% interval"),
            ("public", "^", COLOURS[1], "public"),
            ("private", "s", COLOURS[2], "private"),
        ):
            places = [place for place, row in enumerate(scored) if row[column]]
            values = [float(scored[place][column]) for place in places]
            axes.plot(values, places, marker, color=colour, markersize=5, label=label)
        axes.set_yticks(range(len(scored)), [_row_label(row) for row in scored])
        axes.invert_yaxis()
        axes.set_xlabel("Dice")
        axes.margins(y=0.2 / len(scored))
        _legend(axes, right=True)

    return _svg("board", "CV and board scores of each submission", draw, height=0.9 + 0.24 * len(scored))


def learning_figure(experiment: Experiment, column: str, label: str, *, log: bool = False) -> Markup:
    """Draw a column of the folds' histories over the epochs; "" where no fold has it.

    Args:
        experiment: the recipe's runs.
        column: the column.
        label: the axis label.
        log: whether the axis is logarithmic.
    """
    histories = {
        fold: history for fold, history in experiment.histories.items() if {"epoch", column} <= set(history)
    }
    if not histories:
        return Markup("")

    def draw(axes: Axes) -> None:
        for number, (fold, history) in enumerate(histories.items()):
            axes.plot(
                history["epoch"],
                history[column],
                ".-",
                color=_colour(number),
                label=f"fold {fold}",
                linewidth=1.5,
            )
        first = next(iter(histories.values()))
        if "stage" in first:
            for epoch in first["epoch"][first["stage"].diff() > 0]:
                axes.axvline(epoch - 0.5, color="black", linewidth=0.8, linestyle=":")
        if log:
            axes.set_yscale("log")
            values = pd.concat([history[column] for history in histories.values()])
            axes.yaxis.set_major_locator(_log_ticks(values))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch (dotted: start of a stage)")
        axes.set_ylabel(label)
        _legend(axes, title=experiment.name)

    return _svg(f"learning-{experiment.name}-{column}", f"{experiment.name}: {label}", draw)


def angle_figure(means: pd.DataFrame) -> Markup:
    """Draw the mean Dice by angle.

    Args:
        means: mean Dice, one angle per row and one recipe per column.
    """

    def draw(axes: Axes) -> None:
        for number, recipe in enumerate(means):
            axes.plot(means.index, means[recipe], ".-", color=_colour(number), label=recipe, linewidth=1.5)
        axes.set_xticks(range(1, 17))
        axes.set_xlabel("angle")
        axes.set_ylabel("Dice")
        _legend(axes)

    return _svg("angle", "Mean Dice by angle", draw)


def make_figure(means: pd.DataFrame, cars: pd.Series) -> Markup:
    """Draw the mean Dice by make, the worst at the top.

    Args:
        means: mean Dice, one make per row and one recipe per column.
        cars: the number of held-out cars of each make.
    """
    means = means.loc[means.mean(axis=1).sort_values().index]

    def draw(axes: Axes) -> None:
        for number, recipe in enumerate(means):
            axes.plot(
                means[recipe], range(len(means)), "o", color=_colour(number), label=recipe, markersize=5
            )
        axes.set_yticks(range(len(means)), [f"{make} ({cars[make]})" for make in means.index])
        axes.invert_yaxis()
        axes.set_xlabel("Dice (number of cars after each make)")
        _legend(axes)

    return _svg("make", "Mean Dice by make", draw, height=0.9 + 0.2 * len(means))


def error_figure(tables: Mapping[str, pd.DataFrame]) -> Markup:
    """Draw the wrong pixels per photo of each recipe's maps, stacked by distance from the true contour.

    Args:
        tables: the tables of `errors.errors_by_recipe`.
    """
    summaries = pd.concat({recipe: errors.summary(table) for recipe, table in tables.items()})
    pixels = summaries[[*errors.COUNT_COLUMNS]].fillna(0).mul(summaries["wrong"], axis=0)
    left = pixels.cumsum(axis=1) - pixels

    def draw(axes: Axes) -> None:
        axes.set_axisbelow(True)
        axes.grid(visible=False, axis="y")
        for number, (column, label) in enumerate(zip(pixels, errors.BIN_LABELS, strict=True)):
            places = range(len(pixels))
            axes.barh(places, pixels[column], 0.7, left[column], color=_colour(number), label=label)
        axes.set_yticks(range(len(pixels)), [f"{recipe}, {name}" for recipe, name in pixels.index])
        axes.invert_yaxis()
        axes.set_xlabel("wrong pixels per photo")
        _legend(axes, title="pixels from the true contour")

    title = "Wrong pixels per photo by distance from the true contour"
    return _svg("errors", title, draw, height=1.3 + 0.24 * len(pixels))


def distribution_figure(experiments: Sequence[Experiment]) -> Markup:
    """Draw the distribution of the photos' Dice: a histogram of 1 - Dice on a logarithmic axis."""
    losses = {experiment.name: (1 - experiment.scores["dice"]).clip(1e-5, 1) for experiment in experiments}
    all_losses = pd.concat(losses.values())

    def draw(axes: Axes) -> None:
        bins = np.geomspace(all_losses.min() * 0.99, all_losses.max() * 1.01, 40).tolist()
        for number, (name, values) in enumerate(losses.items()):
            axes.hist(values, bins, histtype="step", color=_colour(number), label=name, linewidth=1.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(_log_ticks(all_losses))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{1 - value:.5f}".rstrip("0").rstrip("."))
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        axes.set_xlabel("Dice of a photo")
        axes.set_ylabel("photos")
        _legend(axes)

    return _svg("distribution", "Distribution of the photos' Dice", draw)


def _log_ticks(values: pd.Series) -> LogLocator:
    """Return a locator of a few ticks for a narrow or a wide range of values."""
    subs = (1.0, 2.0, 5.0) if values.max() < 30 * values.min() else (1.0, 3.0)
    return LogLocator(10, subs=subs, numticks=12)


def _legend(axes: Axes, *, right: bool = False, title: str | None = None) -> None:
    """Place the legend above the axes, where it hides no line."""
    axes.legend(
        loc="lower right" if right else "lower left",
        bbox_to_anchor=(1 if right else 0, 1),
        title=title,
        ncols=3,
        columnspacing=1,
        frameon=False,
        alignment="left",
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _row_label(row: LedgerRow) -> str:
    board = f", {row['board']}" if row["board"] else ""
    return f"{row['recipe'] or row['submission']} {row['fold']}{board}"


def _svg(key: str, title: str, draw: Callable[[Axes], None], height: float = 3.0) -> Markup:
    """Draw a figure as SVG for the page.

    Args:
        key: the prefix of the figure's ids, which must be unique in the page.
        title: the text for screen readers.
        draw: a function that draws on the axes.
        height: the height in inches.
    """
    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": key,
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "text.parse_math": False,  # a dollar sign in a name is one
        }
    ):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", svg, count=2)
    prefix = re.sub(r"\W", "-", key)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"#000000\b", "currentColor", svg).replace("#b0b0b0", "currentColor")
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    return Markup(svg)  # matplotlib has escaped the names in it
