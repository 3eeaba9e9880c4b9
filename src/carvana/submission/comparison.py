"""The comparison: cross-validation beside leaderboard scores, their agreement, and where wrong pixels lie."""

from collections.abc import Mapping, Sequence

import pandas as pd

from carvana.data.folds import parse_fold_number
from carvana.evaluation import errors
from carvana.evaluation.scores import format_dice, format_difference, format_interval
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
"""Columns of `table`."""
AGREEMENT_HEADINGS = [
    "recipe",
    "fold table",
    "board",
    "folds",
    "rank corr. CV, public",
    "rank corr. CV, private",
    "mean public - CV",
    "mean private - CV",
]
"""Columns of `agreement_table`."""
ERROR_HEADINGS = [
    "recipe",
    "map",
    "Dice",
    "wrong",
    *map(str, errors.DISTANCES),
    f">{errors.DISTANCES[-1]}",
]
"""Columns of `error_rows`: narrow, so that the table fits 80 characters. A bin is headed by its upper end."""
_MIN_FOLDS = 3
"""Folds below which no rank correlation is given: of two folds it is always 1 or -1."""


def newest(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Return the newest row of each submission on each board, sorted by recipe and board, the ensemble last."""
    latest = {(row["submission"], row["board"]): row for row in rows}
    return sorted(latest.values(), key=_sort_key)


def table(rows: Sequence[LedgerRow]) -> list[list[str]]:
    """Return the comparison's rows as text under `HEADINGS`."""
    return [_cells(row) for row in newest(rows)]


def agreement_table(rows: Sequence[LedgerRow]) -> list[list[str]]:
    """Return how CV and board agree over the folds of each recipe, and over all recipes of a fold table.

    The correlation is Spearman's: Pearson's correlation of the ranks, with ties sharing their mean rank. Ensembles
    are left out, because their CV is that of single networks.

    Returns:
        Rows of text under `AGREEMENT_HEADINGS`; cells without enough scores are empty.
    """
    folds = pd.DataFrame([row for row in newest(rows) if is_fold(row) and row["board"]])
    if folds.empty:
        return []
    for column in ("cv_dice", "public", "private"):
        folds[column] = pd.to_numeric(folds[column])
    folds = folds[folds["cv_dice"].notna() & (folds["public"].notna() | folds["private"].notna())]
    groups = {key: group for key, group in folds.groupby(["recipe", "folds", "board"]) if len(group) > 1}
    for (fold_table, board), group in folds.groupby(["folds", "board"]):
        if group["recipe"].nunique() > 1:
            groups["all recipes", fold_table, board] = group
    return [[*key, str(len(group)), *_agreement_cells(group)] for key, group in groups.items()]


def error_rows(tables: Mapping[str, pd.DataFrame]) -> list[list[str]]:
    """Return where the wrong pixels of each recipe's maps lie.

    Args:
        tables: the tables of `errors.errors_by_recipe`.

    Returns:
        Rows of text under `ERROR_HEADINGS`: the mean Dice, the wrong pixels per photo, and the percentage of them in
        each bin of distance from the true contour, empty where no pixel is wrong.
    """
    return [
        [
            recipe,
            str(name),
            format_dice(row["dice"]),
            f"{row['wrong']:.0f}",
            *map(_percentage, row[[*errors.COUNT_COLUMNS]]),
        ]
        for recipe, table in tables.items()
        for name, row in errors.summary(table).iterrows()
    ]


def refinement_lines(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return a line for the photo that refinement helped most and for the one it hurt most, for each recipe.

    Args:
        tables: the tables of `errors.errors_by_recipe`; recipes without refinement have no line.
    """
    return [
        f"{recipe}: refinement {verb} {row['img']} most:"
        f" {format_dice(row['coarse'])} -> {format_dice(row['refined'])}"
        for recipe, table in tables.items()
        for verb, changed in zip(("helped", "hurt"), errors.most_changed(table, 1), strict=True)
        for row in changed.to_dict("records")
    ]


def _percentage(share: float) -> str:
    return "" if pd.isna(share) else f"{share:.0%}".removesuffix("%")


def _agreement_cells(folds: pd.DataFrame) -> list[str]:
    correlations, differences = [], []
    for board in ("public", "private"):
        pairs = folds[["cv_dice", board]].dropna()
        ranks = pairs.rank()
        enough = len(pairs) >= _MIN_FOLDS
        correlation = ranks["cv_dice"].corr(ranks[board]) if enough else float("nan")
        correlations.append("" if pd.isna(correlation) else f"{correlation:+.2f}")
        differences.append(format_difference((pairs[board] - pairs["cv_dice"]).mean()))
    return [*correlations, *differences]


def is_fold(row: LedgerRow) -> bool:
    """Return True for a submission of one fold, False for that of an ensemble."""
    return parse_fold_number(row["fold"]) is not None


def _sort_key(row: LedgerRow) -> tuple[str, str, str, bool, str, str]:
    return (
        row["recipe"],
        row["board"],
        row["folds"],
        not is_fold(row),
        row["fold"].zfill(4),
        row["submission"],
    )


def _cells(row: LedgerRow) -> list[str]:
    return [
        row["recipe"],
        row["fold"],
        row["cv_dice"],
        format_interval(row["cv_low"], row["cv_high"]),
        row["public"],
        row["private"],
        _private_minus_cv(row),
        row["board"] or "none yet",
        row["submission"],
    ]


def _private_minus_cv(row: LedgerRow) -> str:
    if not (row["private"] and row["cv_dice"]):
        return ""
    return format_difference(float(row["private"]) - float(row["cv_dice"]))
