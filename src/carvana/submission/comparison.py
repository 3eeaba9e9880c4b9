"""The comparison: cross-validation beside leaderboard scores, a fold a row, and how well the two agree."""

from collections.abc import Sequence

import pandas as pd

from carvana.submission.ledger import LedgerRow

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
AGREEMENT_HEADINGS = [
    "recipe",
    "folds of",
    "board",
    "folds",
    "rank corr. CV, public",
    "rank corr. CV, private",
    "mean public - CV",
    "mean private - CV",
]
_LEAST = 3
"""Folds below which a rank correlation says nothing: of two it is always 1 or -1."""


def newest(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Of each submission on each board its newest row; by recipe and board, folds first, then the ensemble."""
    latest = {(row["submission"], row["board"]): row for row in rows}
    return sorted(latest.values(), key=_place)


def table(rows: Sequence[LedgerRow]) -> list[list[str]]:
    """The comparison's rows, as text under `HEADINGS`."""
    return [_cells(row) for row in newest(rows)]


def agreement_table(rows: Sequence[LedgerRow]) -> list[list[str]]:
    """How CV and board agree over the folds of each recipe, and over all recipes; text, `AGREEMENT_HEADINGS`.

    The correlation is Spearman's: Pearson's of the ranks, ties sharing their mean rank. The ensemble is left out:
    its CV is not its own.
    """
    folds = pd.DataFrame([row for row in newest(rows) if row["fold"].isdigit() and row["board"]])
    if folds.empty:
        return []
    for column in ("cv_dice", "public", "private"):
        folds[column] = pd.to_numeric(folds[column])
    folds = folds[folds["cv_dice"].notna() & (folds["public"].notna() | folds["private"].notna())]
    parts = {key: part for key, part in folds.groupby(["recipe", "folds", "board"]) if len(part) > 1}
    for (table_name, board), part in folds.groupby(["folds", "board"]):
        if part["recipe"].nunique() > 1:
            parts["all recipes", table_name, board] = part
    return [[*key, str(len(part)), *_agreement(part)] for key, part in parts.items()]


def _agreement(folds: pd.DataFrame) -> list[str]:
    correlations, gaps = [], []
    for board in ("public", "private"):
        pairs = folds[["cv_dice", board]].dropna()
        ranks = pairs.rank()
        correlation = ranks["cv_dice"].corr(ranks[board]) if len(pairs) >= _LEAST else float("nan")
        gap = (pairs[board] - pairs["cv_dice"]).mean()
        correlations.append("" if pd.isna(correlation) else f"{correlation:+.2f}")
        gaps.append("" if pd.isna(gap) else f"{gap:+.6f}")
    return [*correlations, *gaps]


def _place(row: LedgerRow) -> tuple:
    is_ensemble = not row["fold"].isdigit()
    return row["recipe"], row["board"], row["folds"], is_ensemble, row["fold"].zfill(4), row["submission"]


def _cells(row: LedgerRow) -> list[str]:
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


def _gap(row: LedgerRow) -> str:
    if not (row["private"] and row["cv_dice"]):
        return ""
    return f"{float(row['private']) - float(row['cv_dice']):+.6f}"
