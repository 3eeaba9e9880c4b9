"""Submissions on Kaggle with their scores, and their transfer into the ledger."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carvana.errors import UserError
from carvana.evaluation.scores import format_dice
from carvana.kaggle.client import COMPETITION, COMPETITION_HINTS, translate_errors
from carvana.submission.ledger import Ledger, LedgerRow

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import ApiSubmission, KaggleApi

BOARD = "kaggle"
"""Name of Kaggle's leaderboard in the ledger."""

_PAGE_SIZE = 100
"""Submissions requested at once; Kaggle may return fewer."""
_SHA256_DIGITS = 12
"""Digits of the SHA-256 in a submission's message, by which the file is recognized."""


@dataclass(frozen=True)
class KaggleSubmission:
    """A submission on Kaggle."""

    ref: int
    """Its number on Kaggle."""
    file: str
    """The file's name."""
    message: str
    """The message that was submitted with it."""
    when: str
    """Time of the submission in UTC, in the ledger's format."""
    status: str
    """PENDING, COMPLETE or ERROR."""
    public: str
    """Public Dice, in the ledger's format; "" where there is none."""
    private: str
    """Private Dice, in the ledger's format; "" where there is none."""
    error: str
    """Kaggle's reason for the status ERROR."""


def submission_message(row: LedgerRow, message: str | None = None) -> str:
    """Return the message of a submission on Kaggle, which ends with digits of the file's SHA-256.

    Args:
        row: the submission's row of the ledger.
        message: the text; by default recipe, fold and CV as far as the ledger has them.
    """
    known = [row.get("recipe", ""), row.get("fold") and f"fold {row['fold']}"]
    known += [row.get("cv_dice") and f"CV {row['cv_dice']}"]
    text = message or ", ".join(filter(None, known)) or row["submission"]
    return f"{text} (sha256 {row['sha256'][:_SHA256_DIGITS]})"


def list_submissions(api: "KaggleApi") -> Iterator[KaggleSubmission]:
    """List the account's submissions, the newest first; pages are requested as they are needed.

    Raises:
        UserError: Kaggle does not return them.
    """
    listed: set[int] = set()
    for page in itertools.count(1):
        with translate_errors("list the submissions", COMPETITION_HINTS):
            response = api.competition_submissions(COMPETITION, page_number=page, page_size=_PAGE_SIZE) or []
        new = [submission for submission in response if submission.ref not in listed]
        if not new:  # not by the page's length: Kaggle may return smaller pages
            return
        listed.update(submission.ref for submission in new)
        yield from map(_from_api, new)


def refresh_scores(api: "KaggleApi", ledger: Ledger) -> tuple[int, list[str]]:
    """Write the scores of all submissions on Kaggle into the ledger.

    A submission with a message of `submission_message` is matched by file name and SHA-256. One submitted by hand
    belongs to the newest row of its file name that is not newer than the submission.

    Returns:
        The number of rows that changed, and the names of files on Kaggle that are not in the ledger.

    Raises:
        UserError: Kaggle does not return the submissions, or could not score one of them.
    """
    rows = ledger.rows()
    matched: dict[tuple[str, str], tuple[LedgerRow, KaggleSubmission]] = {}
    unknown_files = []
    for submission in list_submissions(api):
        row = _matching_row(submission, rows)
        if row is None:
            unknown_files.append(submission.file)
            continue
        key = row["submission"], row["sha256"]
        newer = matched.get(key)  # counts, unless it has no score and this one has
        if newer is None or (submission.status == "COMPLETE" and newer[1].status != "COMPLETE"):
            matched[key] = row, submission
    failures = []
    for row, submission in matched.values():
        on_board = row["board"] == BOARD
        if submission.status == "ERROR" and not on_board:
            continue  # the ledger never counted it
        when = row["when"] if on_board else submission.when
        try:
            record_score(ledger, row | {"board": BOARD, "when": when}, submission)
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("; ".join(failures))
    changed = sum(row not in rows for row in ledger.rows())
    return changed, list(dict.fromkeys(unknown_files))


def record_score(ledger: Ledger, row: LedgerRow, submission: KaggleSubmission | None) -> LedgerRow:
    """Write a submission's scores, as far as there are any, into its row of the ledger, and return the row.

    Args:
        ledger: the ledger.
        row: the submission's row on Kaggle's board.
        submission: the submission; None where Kaggle has not scored it in time.

    Raises:
        UserError: Kaggle could not score it. Its row is then removed from the board, unless it has a score already.
    """
    if submission is not None and submission.status == "ERROR":
        if not row["public"]:
            ledger.clear_score(row)
        reason = submission.error or "no reason given"
        raise UserError(f"{row['submission']}: Kaggle could not score it ({reason})")
    if submission is not None and submission.status == "COMPLETE":
        row = row | {"public": submission.public, "private": submission.private}
    if row not in ledger.rows():
        ledger.add(row)
    return row


def _from_api(submission: "ApiSubmission") -> KaggleSubmission:
    return KaggleSubmission(
        ref=submission.ref,
        file=submission.file_name,
        message=submission.description,
        when=submission.date.strftime("%Y-%m-%dT%H:%M:%SZ") if submission.date else "",
        status=submission.status.name,
        public=_ledger_dice(submission.public_score),
        private=_ledger_dice(submission.private_score),
        error=" ".join(submission.error_description.split()),
    )


def _ledger_dice(text: str) -> str:
    """Return a score in the ledger's format; "" where there is none."""
    try:
        value = float(text)
    except ValueError:
        return ""
    return format_dice(value) if math.isfinite(value) else ""


def _matching_row(submission: KaggleSubmission, rows: Sequence[LedgerRow]) -> LedgerRow | None:
    """Return the row of a submission on Kaggle: the newest on Kaggle's board, else the newest of its file."""
    candidates = [row for row in rows if row["submission"] == submission.file]
    sha256 = re.search(rf"\(sha256 ([0-9a-f]{{{_SHA256_DIGITS}}})\)$", submission.message)
    if sha256:
        candidates = [row for row in candidates if row["sha256"].startswith(sha256[1])]
    elif submission.when:
        candidates = [row for row in candidates if row["when"] <= submission.when]
    candidates = [row for row in candidates if row["board"] == BOARD] or candidates
    return candidates[-1] if candidates else None
