"""Figures of the report, with names of any form."""

import re

import numpy as np
import pandas as pd
import pytest

from carvana.evaluation import errors
from carvana.report.figures import angle_figure, board_figure, board_figures, error_figure, make_figure
from carvana.submission.ledger import COLUMNS, LedgerRow

ODD_NAMES = ["$x$", "$", "$x^{$", r"$\frac$", r"\$", "<b>", "a&b", "a\nb", "%s", "{x}", "größer"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_drawn_as_they_are(name: str) -> None:
    means = pd.DataFrame({name: [0.9, 0.8]}, index=[name, "other"])
    row = dict.fromkeys(COLUMNS, "") | {"recipe": name, "fold": "0", "cv_dice": "0.9"}
    for svg in (make_figure(means, pd.Series({name: 1, "other": 2})), board_figure([row])):
        text = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for line in text.split("\n"):
            assert f">{line}" in svg or f"{line} (1)" in svg


def _texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def _row(recipe: str, cv_dice: str, folds: str = "data-5") -> LedgerRow:
    return dict.fromkeys(COLUMNS, "") | {"recipe": recipe, "fold": "0", "folds": folds, "cv_dice": cv_dice}


def _ticks(svg: str) -> list[float]:
    return [float(text) for text in _texts(svg) if re.fullmatch(r"0\.\d+", text)]


def test_an_outlier_does_not_squash_an_axis() -> None:
    means = pd.DataFrame({"fast": np.linspace(0.9952, 0.9958, 16)}, index=range(1, 17))
    means.loc[7, "fast"] = 0.61
    svg = angle_figure(means)
    assert min(_ticks(svg)) > 0.99
    assert "1 value lies below the axis, the lowest at 0.61" in _texts(svg)
    assert "below the axis" not in angle_figure(means.drop(index=7))


def test_a_bad_and_a_good_recipe_are_both_readable() -> None:
    """Their distances from 1 are on a logarithmic axis."""
    svg = board_figure([_row("bad", "0.61"), _row("good", "0.9957"), _row("better", "0.9964")])
    assert {0.8, 0.9, 0.95, 0.98, 0.99, 0.995} <= set(_ticks(svg))


def test_submissions_of_different_photos_have_axes_of_their_own() -> None:
    real, rendered = _row("fast", "0.9957", "carvana-5"), _row("miniature", "0.983", "data-5")
    assert len(board_figures([real, rendered, real])) == 2
    assert board_figures([_row("fast", "")]) == []


def test_a_long_bar_ends_at_the_edge_with_its_number() -> None:
    def table(counts: list[int]) -> pd.DataFrame:
        return errors.error_table([("00087a6bd4dc_01.jpg", "coarse", 0.9, np.array(counts))])

    tables = {"bad": table([90_000, 0, 0, 0, 0, 5_000]), "good": table([900, 50, 30, 10, 5, 5])}
    texts = _texts(error_figure(tables))
    assert "bad, coarse (95,000 →)" in texts
    assert "good, coarse" in texts
