"""Figures of the report, with names of any form."""

import pandas as pd
import pytest

from carvana.report.figures import board_figure, make_figure
from carvana.submission.ledger import COLUMNS

ODD_NAMES = ["$x$", "$", "$x^{$", r"$\frac$", r"\$", "<b>", "a&b", "a\nb", "%s", "{x}", "größer"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_drawn_as_they_are(name: str) -> None:
    means = pd.DataFrame({name: [0.9, 0.8]}, index=[name, "other"])
    row = dict.fromkeys(COLUMNS, "") | {"recipe": name, "fold": "0", "cv_dice": "0.9"}
    for svg in (make_figure(means, pd.Series({name: 1, "other": 2})), board_figure([row])):
        text = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for line in text.split("\n"):
            assert f">{line}" in svg or f"{line} (1)" in svg
