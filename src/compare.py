"""Compare cross-validation with leaderboard scores, list where wrong pixels lie, and write the report."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from carvana import commandline, console
from carvana.errors import UserError
from carvana.evaluation.errors import errors_by_recipe
from carvana.runs import prediction_command
from carvana.submission import comparison
from carvana.submission.ledger import Ledger


def compare(
    ledger: Annotated[Path, typer.Option(help="The ledger of submissions.")] = Path("submissions/ledger.csv"),
    refresh: Annotated[
        bool, typer.Option("--refresh", help="First get the scores of all submissions from Kaggle.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Also write the report, e.g. submissions/report.html. It replaces an older report only."
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs RECIPE/fold-K.")] = Path("runs"),
    data: Annotated[Path, typer.Option(help="Report: the data folder of the runs.")] = Path("data"),
    worst: Annotated[
        int, typer.Option(min=0, max=10_000, help="Report: photos of each run in its gallery.")
    ] = 6,
) -> None:
    """Print cross-validation beside leaderboard scores: one row per fold, and one for the ensemble.

    CV is the mean Dice of out-of-fold photos at their own size, its interval a 95% bootstrap over cars. The
    ensemble's CV is that of its folds' single networks.

    A further table shows where the wrong pixels of out-of-fold photos lie: the percentage of them in each range of
    distance from the true contour, before and after refinement.

    The report is one HTML file that needs no network: a summary with the file to submit, the tables, settings,
    duration and machine of each run, learning curves, Dice by angle and make, the worst photos of each run with their
    errors at full resolution, and the test photos whose masks are most likely wrong.

    Examples:

        ./run.sh compare

        ./run.sh compare --refresh

        ./run.sh compare --html submissions/report.html --data data
    """
    if html and html.suffix not in (".html", ".htm"):
        raise UserError(f"--html {html}: the report is an HTML page; end its name in .html")
    record = Ledger(ledger)
    errors = errors_by_recipe(runs)
    if not record.rows():
        advice = f"{ledger}: holds no submission yet; {prediction_command(runs, data)} writes the first"
        if not (errors or html):
            raise UserError(advice)
        console.message(advice)
    if html:
        from carvana.report import check_replaceable, write_report

        check_replaceable(html)
    if refresh:
        _refresh(record)
    _show_tables(record)
    _show_errors(errors)
    if html:
        write_report(html, record, runs, data, worst=worst)
        console.message(f"{html}: written; open it in a browser")


def _refresh(ledger: Ledger) -> None:
    from carvana.kaggle.client import sign_in
    from carvana.kaggle.scores import refresh_scores

    changed, unknown_files = refresh_scores(sign_in(), ledger)
    console.message(f"{ledger.path}: {changed} rows updated with scores from Kaggle")
    if unknown_files:
        console.message(f"On Kaggle, but not in the ledger: {', '.join(unknown_files)}")


def _show_tables(ledger: Ledger) -> None:
    rows = ledger.rows()
    if rows:
        console.show_table(
            "Cross-validation and leaderboard", comparison.HEADINGS, comparison.table(rows), left=2
        )
    agreement = comparison.agreement_table(rows)
    if agreement:
        console.show_table(
            "How the folds' CV and the board agree", comparison.AGREEMENT_HEADINGS, agreement, left=3
        )


def _show_errors(tables: dict[str, pd.DataFrame]) -> None:
    if not tables:
        return
    title = "Where the wrong pixels lie: % by distance in pixels from the true contour"
    console.show_table(title, comparison.ERROR_HEADINGS, comparison.error_rows(tables), left=2)
    console.message("wrong: pixels per photo; 8: % of these more than 4 and up to 8 away; and so on")
    for line in comparison.refinement_lines(tables):
        console.message(line)


if __name__ == "__main__":
    commandline.run(compare)
