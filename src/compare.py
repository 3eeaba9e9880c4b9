"""Compare: cross-validation beside leaderboard scores, a fold a row."""

from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.errors import InputError
from carvana.leaderboard import comparison
from carvana.leaderboard.ledger import Ledger


def compare(
    ledger: Annotated[Path, typer.Option(help="The record of submissions.")] = Path("submissions/ledger.csv"),
) -> None:
    """Show cross-validation beside leaderboard scores: a row a fold, and one for the ensemble.

    CV is the mean Dice of out-of-fold photos at their own size; its interval is a bootstrap over cars. The
    ensemble's CV is that of its folds' single networks.

    Example:

        ./run.sh compare
    """
    rows = Ledger(ledger).rows()
    if not rows:
        raise InputError(f"{ledger}: holds no submission yet; `./run.sh predict` writes the first")
    console.show_table(
        "Cross-validation and leaderboard", comparison.HEADINGS, comparison.table(rows), left=2
    )


if __name__ == "__main__":
    console.run(compare)
