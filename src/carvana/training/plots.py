"""Plot of a training's history."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from carvana.files import atomic_path

_PANELS = (
    ("loss", "loss"),
    ("dice", "1 - validation Dice"),
    ("learning_rate", "learning rate"),
)
"""Column of the history and label of the axis, from top to bottom."""


def plot_history(history: pd.DataFrame, path: Path) -> None:
    """Plot loss, validation Dice and learning rate against the minutes of training, and write a PNG file.

    Args:
        history: one row per epoch, as in `history.csv`, with or without `dice`; stages differ in their background.
        path: the file to write.
    """
    minutes = history["train_s"].cumsum() / 60
    panels = [panel for panel in _PANELS if panel[0] in history]
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, height_ratios=(2,) * (len(panels) - 1) + (1,))
    for axis, (column, label) in zip(axes, panels, strict=True):
        axis.plot(minutes, 1 - history[column] if column == "dice" else history[column], marker=".")
        # Logarithmic, because the first epochs are far from all others.
        axis.set_yscale("linear" if column == "learning_rate" else "log")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes of training")
    for number, epochs in history.groupby("stage"):
        start, end = minutes[epochs.index[0]] - epochs["train_s"].iloc[0] / 60, minutes[epochs.index[-1]]
        for axis in axes:
            axis.axvspan(start, end, alpha=0.06 if number % 2 else 0.16, linewidth=0)
        size = f"{epochs['width'].iloc[0]}x{epochs['height'].iloc[0]}"
        axes[0].text(start, 1.02, size, transform=axes[0].get_xaxis_transform())
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=110)
