"""The comparison: cross-validation beside leaderboard scores, a fold a row."""

from collections.abc import Sequence

from carvana.leaderboard.ledger import Row

HEADINGS = [
    "recipe",
    "fold",
    "CV Dice",
    "95% interval",
    "public",
    "private",
    "private - CV",
    "board",
    "submission",
]


def newest(rows: Sequence[Row]) -> list[Row]:
    """Of each submission on each board its newest row; by recipe and board, folds first, then the ensemble."""
    latest = {(row["submission"], row["board"]): row for row in rows}
    return sorted(latest.values(), key=_place)


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The comparison's rows, as text under `HEADINGS`."""
    return [_cells(row) for row in newest(rows)]


def _place(row: Row) -> tuple:
    is_ensemble = not row["fold"].isdigit()
    return row["recipe"], row["board"], row["folds"], is_ensemble, row["fold"].zfill(4), row["submission"]


def _cells(row: Row) -> list[str]:
    interval = f"{row['cv_low']} .. {row['cv_high']}" if row["cv_low"] else ""
    return [
        row["recipe"],
        row["fold"],
        row["cv_dice"],
        interval,
        row["public"],
        row["private"],
        _gap(row),
        row["board"] or "none yet",
        row["submission"],
    ]


def _gap(row: Row) -> str:
    if not (row["private"] and row["cv_dice"]):
        return ""
    return f"{float(row['private']) - float(row['cv_dice']):+.6f}"
