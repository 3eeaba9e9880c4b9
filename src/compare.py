"""Compare: cross-validation beside leaderboard scores, a fold a row."""

from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.errors import UserError
from carvana.submission import comparison
from carvana.submission.ledger import Ledger, LedgerRow


def compare(
    ledger: Annotated[Path, typer.Option(help="The record of submissions.")] = Path("submissions/ledger.csv"),
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask Kaggle for the scores first, by file name and message.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write the report, e.g. submissions/report.html.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Report: where training wrote RUNS/RECIPE/fold-K.")] = Path(
        "runs"
    ),
    data: Annotated[Path, typer.Option(help="Report: the data folder of the runs.")] = Path("data"),
    worst: Annotated[int, typer.Option(min=0, help="Report: photos of each run in its gallery.")] = 6,
) -> None:
    """Reporter cross-validation beside leaderboard scores: a row a fold, and one for the ensemble.

    CV is the mean Dice of out-of-fold photos at their own size; its interval is a bootstrap over cars. The
    ensemble's CV is that of its folds' single networks.

    The report is one HTML file that needs no network: the tables, learning curves, recipes side by side, Dice by
    angle and make, the photos that each run did worst on, and the test photos whose masks most likely went wrong.

    Examples:

        ./run.sh compare

        ./run.sh compare --refresh

        ./run.sh compare --html submissions/report.html --data data
    """
    record = Ledger(ledger)
    if not (record.rows() or html):
        raise UserError(f"{ledger}: holds no submission yet; `./run.sh predict` writes the first")
    if refresh:
        _refresh(record)
    rows = record.rows()
    if rows:
        _show(rows)
    if html:
        from carvana.report import write_report  # late: the table alone need not wait for figures

        write_report(html, record, runs, data, worst=worst)
        console.message(f"{html}: written; open it in a browser")


def _show(rows: list[LedgerRow]) -> None:
    console.show_table(
        "Cross-validation and leaderboard", comparison.HEADINGS, comparison.table(rows), left=2
    )
    agreement = comparison.agreement_table(rows)
    if agreement:
        console.show_table(
            "How the folds' CV and the board agree", comparison.AGREEMENT_HEADINGS, agreement, left=3
        )


def _refresh(record: Ledger) -> None:
    from carvana.kaggle import scores as kaggle_scores
    from carvana.kaggle.client import sign_in  # late: only here is Kaggle's client needed

    changed, unknown_files = kaggle_scores.refresh(sign_in(), record)
    console.message(f"{record.path}: {changed} rows changed by what Kaggle says")
    if unknown_files:
        console.message(f"On Kaggle, but not in the ledger: {', '.join(unknown_files)}")


if __name__ == "__main__":
    console.run(compare)
