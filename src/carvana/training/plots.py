"""The picture of a run's history."""

from pathlib import Path

import pandas as pd

from carvana.files import atomic_path


def plot_history(history: pd.DataFrame, path: Path) -> None:
    """Draw loss, out-of-fold Dice and rate over the minutes of training; a shade a stage."""
    from matplotlib.figure import Figure  # late: it takes a second, at the end of a stage

    minutes = history["train_s"].cumsum() / 60
    figure = Figure(figsize=(8, 6), layout="constrained")
    panels = figure.subplots(3, sharex=True, height_ratios=(2, 2, 1))
    shown = (("loss", "loss"), ("dice", "1 - Dice, out of fold"), ("rate", "rate at the end"))
    for panel, (column, label) in zip(panels, shown, strict=True):
        panel.plot(minutes, 1 - history[column] if column == "dice" else history[column], marker=".")
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    panels[1].set_yscale("log")
    panels[2].set_xlabel("minutes of training")
    for stage, epochs in history.groupby("stage"):
        began, ended = minutes[epochs.index[0]] - epochs["train_s"].iloc[0] / 60, minutes[epochs.index[-1]]
        for panel in panels:
            panel.axvspan(began, ended, alpha=0.06 if stage % 2 else 0.16, linewidth=0)
        size = f"{epochs['width'].iloc[0]}x{epochs['height'].iloc[0]}"
        panels[0].text(began, 1.02, size, transform=panels[0].get_xaxis_transform())
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=110)
