"""The headline: best cross-validation, best board score, the file to submit, and what changed since the last ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carvana.arguments import command
from carvana.evaluation.scores import format_difference, format_interval
from carvana.report.experiments import Experiment, compare_recipes, paired_with
from carvana.report.run_details import changed_settings
from carvana.submission.comparison import is_fold, newest
from carvana.submission.ledger import LedgerRow

_MAX_SETTINGS = 6
"""Changed settings that are listed; the recipes' table has all of them."""

_BOARDS = {"kaggle": "Kaggle's leaderboard", "local": "the local board (rendered test photos)"}


@dataclass(frozen=True)
class Fact:
    """A part of the headline."""

    title: str
    value: str
    """The value in large letters."""
    lines: Sequence[str]
    """Sentences below it."""


def headline(rows: Sequence[LedgerRow], experiments: Sequence[Experiment], folder: Path) -> list[Fact]:
    """Return the facts that a reader looks for first.

    Args:
        rows: rows of the ledger, the oldest first.
        experiments: the recipes with finished runs.
        folder: the folder of the submissions.
    """
    facts = [best_cv(rows, experiments), best_board_score(rows), file_to_submit(rows, folder)]
    changes = [last_submission(rows, experiments), last_run(experiments)]
    return facts + [fact for fact in changes if fact]


def best_cv(rows: Sequence[LedgerRow], experiments: Sequence[Experiment]) -> Fact:
    """Return the best cross-validation: that of the finished runs, or of a recipe without runs in the ledger."""
    title = "Best cross-validation"
    trained = {experiment.name for experiment in experiments}
    others = [row for row in rows if row["cv_dice"] and row["recipe"] not in trained]
    of_ledger = max(others, key=lambda row: float(row["cv_dice"]), default=None)
    ranked = compare_recipes(experiments)
    best = ranked[0] if ranked else None
    if of_ledger and (best is None or float(of_ledger["cv_dice"]) > best.dice.dice):
        interval = format_interval(of_ledger["cv_low"], of_ledger["cv_high"])
        lines = [f"Recipe {of_ledger['recipe']}: its submission {of_ledger['submission']} in the ledger."]
        return Fact(title, of_ledger["cv_dice"], lines + [f"95% interval: {interval}."] * bool(interval))
    if best is None:
        lines = [f"No run is finished; {command('train', '--help')} says how to train one."]
        return Fact(title, "none yet", lines)
    folds = f"fold {best.folds[0]}" if len(best.folds) == 1 else f"{len(best.folds)} folds"
    lines = [
        f"Recipe {best.name}: mean Dice of {best.dice.photos:,} out-of-fold photos of {folds}.",
        f"95% interval: {best.dice.interval_text()}.",
    ]
    if len(ranked) > 1 and ranked[1].difference:
        difference = ranked[1].difference
        lines.append(
            f"The second best, {ranked[1].name}, differs by {difference.difference_text()} on the"
            f" {difference.photos:,} common photos (95% interval: {difference.difference_interval_text()})."
        )
    return Fact(title, best.dice.dice_text(), lines)


def best_board_score(rows: Sequence[LedgerRow]) -> Fact:
    """Return the best score of a board: Kaggle's before the local one, and the private before the public one."""
    title = "Best board score"
    for board, name in _BOARDS.items():
        for column, other in (("private", "public"), ("public", "private")):
            scored = [row for row in rows if row["board"] == board and row[column]]
            if scored:
                row = max(scored, key=lambda row: float(row[column]))
                lines = [f"{row['submission']}: {column} score on {name}."]
                if row[other]:
                    lines.append(f"Its {other} score is {row[other]}.")
                return Fact(title, row[column], lines)
    return Fact(title, "none yet", ["No board has scored a submission."])


def file_to_submit(rows: Sequence[LedgerRow], folder: Path) -> Fact:
    """Return the submission with the highest cross-validation; ensembles are preferred to single folds.

    The choice does not depend on board scores: who chooses by them fits the test photos.
    """
    title = "File to submit"
    candidates = sorted(
        (row for row in newest(rows) if row["cv_dice"]), key=lambda row: float(row["cv_dice"]), reverse=True
    )
    if not candidates:
        return Fact(title, "none yet", ["The ledger holds no submission with a cross-validation score."])
    row = next((row for row in candidates if not is_fold(row)), candidates[0])
    path = folder / row["submission"]
    kind = "single networks" if is_fold(row) else "ensembles of folds"
    lines = [f"It has the highest cross-validation of the {kind}: {row['cv_dice']}."]
    if candidates[0]["recipe"] != row["recipe"]:
        lines.append(
            f"A single network of recipe {candidates[0]['recipe']} has a higher one, of its own fold:"
            f" {candidates[0]['cv_dice']}."
        )
    scored = [one for one in rows if one["submission"] == row["submission"] and one["board"]]
    for one in scored:
        scores = [f"{name} {one[name]}" for name in ("public", "private") if one[name]]
        lines.append(f"Scored by {_BOARDS[one['board']]}: {', '.join(scores) or 'no score yet'}.")
    if not path.is_file():
        lines.append(
            f"The file is not in {folder}; {command('predict', '--help')} says how to write it again."
        )
    elif not scored:
        lines.append(f"Not submitted yet: {command('submit', path)}.")
    return Fact(title, row["submission"], lines)


def last_submission(rows: Sequence[LedgerRow], experiments: Sequence[Experiment]) -> Fact | None:
    """Return what the newest submission changed against the one before it; None without a submission.

    An ensemble is compared with an ensemble, and a fold's network with one of the same fold.
    """
    if not rows:
        return None
    row = _newest(rows)
    title = "Newest submission"
    before = next((old for old in reversed(rows) if _is_comparable(old, row)), None)
    if before is None:
        return Fact(title, row["submission"], ["There is no earlier submission to compare it with."])
    lines = [f"Compared with {before['submission']}, the one before it:"]
    for column, name in (
        ("cv_dice", "cross-validation"),
        ("public", "public score"),
        ("private", "private score"),
    ):
        same_board = column == "cv_dice" or row["board"] == before["board"]
        if row[column] and before[column] and same_board:
            change = format_difference(float(row[column]) - float(before[column]))
            lines.append(f"{name} {row[column]} ({change})")
    lines.append(_changes(_changed_columns(before, row) + _changed_recipes(before, row, experiments)))
    return Fact(title, row["submission"], lines)


def last_run(experiments: Sequence[Experiment]) -> Fact | None:
    """Return what the recipe trained last changed against the one trained before it; None with fewer than two."""
    if len(experiments) < 2:
        return None
    before, last = sorted(experiments, key=lambda experiment: experiment.finished)[-2:]
    difference = paired_with(last, before)
    if difference:
        lines = [
            f"Dice {difference.difference_text()} against {before.name}, which was trained before it, on"
            f" {difference.photos:,} common photos (95% interval: {difference.difference_interval_text()})."
        ]
    else:
        lines = [f"It has no held-out photos in common with {before.name}, which was trained before it."]
    if before.recipe and last.recipe:
        lines.append(_changes(changed_settings(before.recipe, last.recipe)))
    return Fact("Recipe trained last", last.name, lines)


def _newest(rows: Sequence[LedgerRow]) -> LedgerRow:
    """Return the newest row, or the newest ensemble of its recipe."""
    recipe = rows[-1]["recipe"]
    ensembles = [row for row in rows if row["recipe"] == recipe and not is_fold(row)]
    return ensembles[-1] if ensembles else rows[-1]


def _is_comparable(old: LedgerRow, row: LedgerRow) -> bool:
    """Return True if `old` is another submission than `row`, of the same fold table and the same fold."""
    is_other = (old["submission"], old["sha256"]) != (row["submission"], row["sha256"])
    return is_other and (old["folds"], old["fold"]) == (row["folds"], row["fold"])


def _changed_columns(before: LedgerRow, row: LedgerRow) -> list[str]:
    """List the changed settings of prediction, as the ledger records them."""
    return [
        f"{column}: {before[column]} -> {row[column]}"
        for column in ("recipe", "tta", "threshold", "engine")
        if before[column] and row[column] and before[column] != row[column]
    ]


def _changed_recipes(before: LedgerRow, row: LedgerRow, experiments: Sequence[Experiment]) -> list[str]:
    """List the changed settings of training, if both recipes have runs."""
    recipes = {experiment.name: experiment.recipe for experiment in experiments}
    old, new = recipes.get(before["recipe"]), recipes.get(row["recipe"])
    if not (old and new):
        return []
    changed = changed_settings(old, new)
    return [change for change in changed if not change.startswith(("tta:", "threshold:"))]


def _changes(changes: Sequence[str]) -> str:
    """Return a sentence on changed settings."""
    if not changes:
        return "No setting was changed."
    listed, more = changes[:_MAX_SETTINGS], len(changes) - _MAX_SETTINGS
    suffix = f", and {more} more" if more > 0 else ""
    return f"Changed: {'; '.join(listed)}{suffix}."
