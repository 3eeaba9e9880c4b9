"""The report's figures, as SVG that takes its ink from the page: it is read by day and by night."""

import io
import re
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from carvana.report.experiments import Experiment
from carvana.submission.ledger import LedgerRow

COLOURS = ("#2f7ed8", "#e8793a", "#2aa876", "#b667d6", "#d1495b", "#9a8a00", "#00a0b0", "#a07860")
"""Told apart on white and on black alike."""

_WIDTH = 4.8
"""Inches: narrow enough that its letters are still read on a phone."""


def board_figure(rows: Sequence[LedgerRow]) -> str:
    """CV with its interval, and the board's public and private score, a submission a line."""
    shown = [row for row in rows if row["cv_dice"] or row["public"] or row["private"]]

    def draw(axes: Axes) -> None:
        for place, row in enumerate(shown):
            if row["cv_low"] and row["cv_high"]:
                ends = [float(row["cv_low"]), float(row["cv_high"])]
                axes.plot(ends, [place, place], color=COLOURS[0], linewidth=2)
            for column, mark, colour in (
                ("cv_dice", "o", COLOURS[0]),
                ("public", "^", COLOURS[1]),
                ("private", "s", COLOURS[2]),
            ):
                if row[column]:
                    axes.plot([float(row[column])], [place], mark, color=colour, markersize=5)
        axes.set_yticks(range(len(shown)), [_label(row) for row in shown])
        axes.invert_yaxis()
        axes.set_xlabel("Dice")
        names = [
            ("o", COLOURS[0], "CV, 95% interval"),
            ("^", COLOURS[1], "public"),
            ("s", COLOURS[2], "private"),
        ]
        handles = [axes.plot([], [], mark, color=colour, label=name)[0] for mark, colour, name in names]
        axes.margins(y=0.2 / len(shown))
        _legend(axes, "right", handles=handles)

    return _svg("board", "CV and board scores of each submission", draw, height=0.9 + 0.24 * len(shown))


def learning_figure(experiment: Experiment, column: str, label: str, *, log: bool = False) -> str:
    """A column of the folds' histories over the epochs; "" where no fold has it."""
    histories = {
        fold: history for fold, history in experiment.histories.items() if {"epoch", column} <= set(history)
    }

    def draw(axes: Axes) -> None:
        for number, (fold, history) in enumerate(histories.items()):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(
                history["epoch"], history[column], ".-", color=colour, label=f"fold {fold}", linewidth=1.5
            )
        history = next(iter(histories.values()))
        if "stage" in history:
            for epoch in history["epoch"][history["stage"].diff() > 0]:
                axes.axvline(epoch - 0.5, color="black", linewidth=0.8, linestyle=":")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(_log_ticks(pd.concat([one[column] for one in histories.values()])))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch (dotted: a new resolution)")
        axes.set_ylabel(label)
        _legend(axes, title=experiment.name)

    title = f"{experiment.name}: {label}"
    return _svg(f"learning-{experiment.name}-{column}", title, draw) if histories else ""


def angle_figure(means: pd.DataFrame) -> str:
    """Mean Dice by angle.

    Args:
        means: an angle a row, a recipe a column.
    """

    def draw(axes: Axes) -> None:
        for number, recipe in enumerate(means):
            axes.plot(means.index, means[recipe], ".-", color=_colour(number), label=recipe, linewidth=1.5)
        axes.set_xticks(range(1, 17))
        axes.set_xlabel("angle")
        axes.set_ylabel("Dice")
        _legend(axes)

    return _svg("angle", "Mean Dice by angle", draw)


def make_figure(means: pd.DataFrame, cars: pd.Series) -> str:
    """Mean Dice by make, the worst at the top.

    Args:
        means: a make a row, a recipe a column.
        cars: how many cars of each make were held out.
    """
    means = means.loc[means.mean(axis=1).sort_values().index]

    def draw(axes: Axes) -> None:
        for number, recipe in enumerate(means):
            axes.plot(
                means[recipe], range(len(means)), "o", color=_colour(number), label=recipe, markersize=5
            )
        axes.set_yticks(range(len(means)), [f"{make} ({cars[make]})" for make in means.index])
        axes.invert_yaxis()
        axes.set_xlabel("Dice (behind a make: its cars)")
        _legend(axes)

    return _svg("make", "Mean Dice by make", draw, height=0.9 + 0.2 * len(means))


def distribution_figure(experiments: Sequence[Experiment]) -> str:
    """How the photos' Dice is spread: a histogram over 1 - Dice, on a logarithmic axis."""
    losses = {one.name: (1 - one.scores["dice"]).clip(1e-5, 1) for one in experiments}
    everything = pd.concat(losses.values())

    def draw(axes: Axes) -> None:
        bins = np.geomspace(everything.min() * 0.99, everything.max() * 1.01, 40)
        for number, (name, values) in enumerate(losses.items()):
            axes.hist(values, bins, histtype="step", color=_colour(number), label=name, linewidth=1.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(_log_ticks(everything))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{1 - value:.5f}".rstrip("0").rstrip("."))
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        axes.set_xlabel("Dice of a photo")
        axes.set_ylabel("photos")
        _legend(axes)

    return _svg("distribution", "How the photos' Dice is spread", draw)


def _log_ticks(values: pd.Series) -> LogLocator:
    """A few marks, however narrow or wide the values lie."""
    subs = (1.0, 2.0, 5.0) if values.max() < 30 * values.min() else (1.0, 3.0)
    return LogLocator(10, subs=subs, numticks=12)


def _legend(axes: Axes, side: str = "left", **options: object) -> None:
    """Above the axes, where no line is crossed."""
    place = {"loc": f"lower {side}", "bbox_to_anchor": (0 if side == "left" else 1, 1)}
    axes.legend(**place, ncols=3, columnspacing=1, frameon=False, alignment="left", **options)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _label(row: LedgerRow) -> str:
    board = f", {row['board']}" if row["board"] else ""
    return f"{row['recipe'] or row['submission']} {row['fold']}{board}"


def _svg(key: str, title: str, draw: Callable[[Axes], None], height: float = 3.0) -> str:
    """Draw on one pair of axes; black becomes the page's own ink, and ids become this figure's own."""
    own = {"svg.fonttype": "none", "svg.hashsalt": key, "font.size": 9, "axes.spines.top": False}
    with matplotlib.rc_context(own | {"axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", text, count=2)
    mark = re.sub(r"\W", "-", key)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{mark}-", text)
    text = re.sub(r"#000000\b", "currentColor", text).replace("#b0b0b0", "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
