"""The report's figures, as SVG in the page's text colour, so that they are readable in light and dark mode.

A few values far from all others do not squash an axis: it ends before them, and its label says how many lie beyond.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from carvana import console
from carvana.evaluation import errors
from carvana.report.experiments import Experiment
from carvana.submission.ledger import LedgerRow

COLOURS = ("#2f7ed8", "#e8793a", "#2aa876", "#b667d6", "#d1495b", "#9a8a00", "#00a0b0", "#a07860")
"""Colours of the series, distinguishable on white and on black."""

_WIDTH = 4.8
"""Width in inches: narrow enough for readable text on a phone."""

_SQUASHED = 5.0
"""Factor by which an axis must become shorter for its outliers to be left out."""

_MAX_OUTLIERS = 0.25
"""Share of the values that are left out as outliers, at most."""

_WIDE_RANGE = 6.0
"""Ratio of the largest to the smallest distance from 1 above which an axis of Dice is logarithmic in it."""

_MIN_DISTANCE = 1e-5
"""Distance of a Dice from 1 below which a logarithmic axis makes no difference."""

_DICE_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999)
"""Ticks of a logarithmic axis of Dice."""


def board_figures(rows: Sequence[LedgerRow]) -> list[Markup]:
    """Draw CV with its interval and the public and private score, one submission per line.

    Returns:
        One figure per fold table, because scores of different photos have no common scale; submissions without any
        score are left out.
    """
    tables = dict.fromkeys(row["folds"] for row in rows)
    figures = [board_figure([row for row in rows if row["folds"] == table]) for table in tables]
    return [figure for figure in figures if figure]


def board_figure(rows: Sequence[LedgerRow]) -> Markup:
    """Draw the scores of submissions of the same fold table; "" without any score."""
    scored = [row for row in rows if row["cv_dice"] or row["public"] or row["private"]]
    if not scored:
        return Markup("")
    columns = ("cv_dice", "cv_low", "cv_high", "public", "private")
    all_scores = [float(row[column]) for row in scored for column in columns if row[column]]

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
            if values:
                axes.plot(values, places, marker, color=colour, markersize=5, label=label)
        axes.set_yticks(range(len(scored)), [_row_label(row) for row in scored])
        axes.invert_yaxis()
        axes.margins(y=0.2 / len(scored))
        _scale_dice(axes, "x", all_scores, "Dice")
        _legend(axes, right=True)

    table = scored[0]["folds"]
    title = f"CV and board scores of each submission{f', fold table {table}' if table else ''}"
    return _svg(f"board-{table}", title, draw, height=0.9 + 0.24 * len(scored))


def learning_figure(experiment: Experiment, column: str, label: str, *, log: bool = False) -> Markup:
    """Draw a column of the folds' histories over the epochs; "" where no fold has it.

    Args:
        experiment: the recipe's runs.
        column: the column.
        label: the axis label.
        log: True for a logarithmic axis, False for an axis of Dice.
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
        values = pd.concat([history[column] for history in histories.values()])
        if log:
            _scale_log(axes, values, label)
        else:
            _scale_dice(axes, "y", values, label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch (dotted: start of a stage)")
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
        _scale_dice(axes, "y", means.to_numpy().ravel(), "Dice")
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
        _scale_dice(axes, "x", means.to_numpy().ravel(), "Dice (number of cars after each make)")
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
    limit = _bar_limit(summaries["wrong"].to_numpy())
    labels = [
        f"{recipe}, {name}{f' ({wrong:,.0f} →)' if limit and wrong > limit else ''}"
        for (recipe, name), wrong in summaries["wrong"].items()
    ]

    def draw(axes: Axes) -> None:
        axes.set_axisbelow(True)
        axes.grid(visible=False, axis="y")
        for number, (column, label) in enumerate(zip(pixels, errors.BIN_LABELS, strict=True)):
            places = range(len(pixels))
            axes.barh(places, pixels[column], 0.7, left[column], color=_colour(number), label=label)
        axes.set_yticks(range(len(pixels)), labels)
        axes.invert_yaxis()
        axes.set_xlim(0, limit)
        axes.set_xlabel("wrong pixels per photo")
        _legend(axes, title="pixels from the true contour")

    title = "Wrong pixels per photo by distance from the true contour"
    return _svg("errors", title, draw, height=1.3 + 0.24 * len(pixels))


def distribution_figure(experiments: Sequence[Experiment]) -> Markup:
    """Draw the distribution of the photos' Dice: a histogram of 1 - Dice on a logarithmic axis."""
    losses = {
        experiment.name: (1 - experiment.scores["dice"]).clip(_MIN_DISTANCE, 1) for experiment in experiments
    }
    all_losses = pd.concat(losses.values())
    high = 10 ** _limits(np.log10(all_losses), top=True)[1]

    def draw(axes: Axes) -> None:
        bins = np.geomspace(all_losses.min() * 0.99, high * 1.01, 40).tolist()
        for number, (name, values) in enumerate(losses.items()):
            axes.hist(
                values.clip(upper=high),
                bins,
                histtype="step",
                color=_colour(number),
                label=name,
                linewidth=1.5,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(_log_ticks(all_losses.clip(upper=high)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _dice_text(1 - value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        beyond = int((all_losses > high).sum())
        held = f"{console.counted(beyond, 'photo')} below {_dice_text(1 - high)}"
        note = f"\nthe first bin also holds {held}" if beyond else ""
        axes.set_xlabel(f"Dice of a photo{note}")
        axes.set_ylabel("photos")
        _legend(axes)

    return _svg("distribution", "Distribution of the photos' Dice", draw)


def _limits(values: Sequence[float] | pd.Series | np.ndarray, *, top: bool) -> tuple[float, float]:
    """Return the lowest and the highest value without outliers on one side.

    Values are outliers if they are at most `_MAX_OUTLIERS` of all, and the range without them is `_SQUASHED` times
    shorter.

    Args:
        values: numbers; NaN is ignored.
        top: True to leave out the highest values, False for the lowest.
    """
    ordered = np.sort(np.asarray(values, float))
    ordered = ordered[~np.isnan(ordered)]
    full = ordered[-1] - ordered[0]
    for count in range(1, int(len(ordered) * _MAX_OUTLIERS) + 1):
        kept = ordered[:-count] if top else ordered[count:]
        if 0 < _SQUASHED * (kept[-1] - kept[0]) <= full:
            return float(kept[0]), float(kept[-1])
    return float(ordered[0]), float(ordered[-1])


def _scale_dice(axes: Axes, name: str, values: Sequence[float] | pd.Series | np.ndarray, label: str) -> None:
    """Scale and label an axis of Dice: logarithmic in the distance from 1 if the range is wide, and without outliers.

    Args:
        axes: the axes.
        name: "x" or "y".
        values: all values on the axis; NaN is ignored.
        label: the label of the axis.
    """
    low, high = _limits(values, top=False)
    axis = axes.xaxis if name == "x" else axes.yaxis
    set_scale, set_limits = (
        (axes.set_xscale, axes.set_xlim) if name == "x" else (axes.set_yscale, axes.set_ylim)
    )
    if (1 - low) > _WIDE_RANGE * max(1 - high, _MIN_DISTANCE):
        set_scale("function", functions=(_log_distance, _dice_at_log_distance))
        ends = _log_distance(np.array([low, high]))
        margin = 0.06 * (ends[1] - ends[0])
        start, stop = _dice_at_log_distance(ends + np.array([-margin, margin]))
        axis.set_major_locator(FixedLocator([tick for tick in _DICE_TICKS if start <= tick <= stop]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: _dice_text(value)))
    else:
        margin = 0.06 * (high - low) or 0.001
        start, stop = low - margin, high + margin
        axis.set_major_locator(MaxNLocator(5))
    set_limits(start, min(stop, 1 + (high >= 1) * 0.0005))
    values = np.asarray(values, float)
    beyond = int((values < low).sum())
    if beyond:
        count = "1 value lies" if beyond == 1 else f"{beyond} values lie"
        label = f"{label}\n{count} below the axis, the lowest at {_dice_text(np.nanmin(values))}"
    axis.set_label_text(label)


def _log_distance(dice: np.ndarray) -> np.ndarray:
    return -np.log10(np.maximum(1 - np.asarray(dice, float), _MIN_DISTANCE))


def _dice_at_log_distance(log_distance: np.ndarray) -> np.ndarray:
    return 1 - 10 ** -np.asarray(log_distance, float)


def _scale_log(axes: Axes, values: pd.Series, label: str) -> None:
    """Scale and label a logarithmic y axis of positive values, without outliers at its top."""
    low, high = 10 ** np.array(_limits(np.log10(values), top=True))
    axes.set_yscale("log")
    axes.set_ylim(low / 1.1, high * 1.1)
    axes.yaxis.set_major_locator(_log_ticks(values.clip(upper=high)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    beyond = int((values > high).sum())
    if beyond:
        count = "1 value lies" if beyond == 1 else f"{beyond} values lie"
        label = f"{label}\n{count} above the axis, the highest at {values.max():.3g}"
    axes.set_ylabel(label)


def _bar_limit(totals: np.ndarray) -> float | None:
    """Return where an axis of bars ends if at most half of them are many times longer than all others, else None."""
    ordered = np.sort(totals)[::-1]
    for longer, longest in pairwise(ordered[: len(ordered) // 2 + 1]):
        if 0 < _SQUASHED * longest <= longer:
            return 1.3 * longest
    return None


def _dice_text(value: float) -> str:
    """Format a Dice for an axis: up to five decimals, without zeros at the end."""
    return f"{value:.5f}".rstrip("0").rstrip(".")


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
