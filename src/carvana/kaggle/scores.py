"""What Kaggle says of submissions, brought into the ledger."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carvana.errors import UserError
from carvana.kaggle.client import COMPETITION, translate_errors
from carvana.submission.ledger import Ledger, LedgerRow

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import ApiSubmission, KaggleApi

BOARD = "kaggle"
"""The ledger's word for it."""

_PAGE = 100
_DIGITS = 12
"""Of the SHA-256, in the message on Kaggle: enough to know the file again."""


@dataclass(frozen=True)
class Score:
    """What Kaggle says of a submission."""

    ref: int
    """Its number on Kaggle."""
    file: str
    message: str
    when: str
    """UTC, as in the ledger."""
    status: str
    """PENDING, COMPLETE or ERROR."""
    public: str
    private: str
    reason: str
    """Why it could not be scored."""


def submission_message(row: LedgerRow, message: str | None = None) -> str:
    """The message that a submission carries on Kaggle: `message` or what the ledger knows, and the file's mark."""
    known = [row.get("recipe", ""), row.get("fold") and f"fold {row['fold']}"]
    known += [row.get("cv_dice") and f"CV {row['cv_dice']}"]
    text = message or ", ".join(filter(None, known)) or row["submission"]
    return f"{text} (sha256 {row['sha256'][:_DIGITS]})"


def refresh(api: "KaggleApi", ledger: Ledger) -> tuple[int, list[str]]:
    """Bring the scores on Kaggle into the ledger, by file name and message.

    A message with the checksum of `submission_message` identifies a file; one written by hand belongs to the
    newest row of that file name from before.

    Returns:
        How many rows changed, and the file names on Kaggle that the ledger knows nothing of.

    Raises:
        UserError: Kaggle does not answer, or could not score one of them.
    """
    rows = ledger.rows()
    found: dict[tuple[str, str], tuple[LedgerRow, Score]] = {}
    unknown_files = []
    for score in submissions(api):
        row = _row_for(score, rows)
        if row is None:
            unknown_files.append(score.file)
            continue
        key = row["submission"], row["sha256"]
        scored_at_last = score.status == "COMPLETE" and key in found and found[key][1].status != "COMPLETE"
        if key not in found or scored_at_last:
            found[key] = row, score
    failures = []
    for row, score in found.values():
        on_board = row["board"] == BOARD
        if score.status != "ERROR" or on_board:  # else the ledger never counted it
            date = row["when"] if on_board else score.when
            failures += record_score(ledger, row | {"board": BOARD, "when": date}, score)[1]
    if failures:
        raise UserError("; ".join(failures))
    changed = sum(row not in rows for row in ledger.rows())
    return changed, list(dict.fromkeys(unknown_files))


def submissions(api: "KaggleApi") -> Iterator[Score]:
    """The account's submissions on Kaggle, the newest first; pages are asked for as they are needed."""
    seen: set[int] = set()
    for page in itertools.count(1):
        with translate_errors("ask for the scores"):
            shown = api.competition_submissions(COMPETITION, page_number=page, page_size=_PAGE) or []
        new = [one for one in shown if one.ref not in seen]  # Kaggle decides how large a page may be
        if not new:
            return
        seen.update(one.ref for one in new)
        yield from map(_score, new)


def _score(shown: "ApiSubmission") -> Score:
    when = shown.date.strftime("%Y-%m-%dT%H:%M:%SZ") if shown.date else ""
    return Score(
        ref=shown.ref,
        file=shown.file_name,
        message=shown.description,
        when=when,
        status=shown.status.name,
        public=_dice(shown.public_score),
        private=_dice(shown.private_score),
        reason=" ".join(shown.error_description.split()),
    )


def _dice(text: str) -> str:
    """A score as the ledger has it; "" where there is none."""
    try:
        value = float(text)
    except ValueError:
        return ""
    return f"{value:.6f}" if math.isfinite(value) else ""


def record_score(ledger: Ledger, row: LedgerRow, score: Score | None) -> tuple[LedgerRow, list[str]]:
    """Write what Kaggle says of a row's submission into the ledger; returns the row, and what went wrong."""
    if score is not None and score.status == "ERROR":
        if not row["public"]:
            ledger.clear_score(row)
        reason = score.reason or "it does not say why"
        return row, [f"{row['submission']}: Kaggle could not score it ({reason})"]
    if score is not None and score.status == "COMPLETE":
        row = row | {"public": score.public, "private": score.private}
    if row not in ledger.rows():
        ledger.add(row)
    return row, []


def _row_for(score: Score, rows: Sequence[LedgerRow]) -> LedgerRow | None:
    """The row that a submission on Kaggle belongs to: its own on this board, else the file's newest."""
    named = [row for row in rows if row["submission"] == score.file]
    mark = re.search(rf"\(sha256 ([0-9a-f]{{{_DIGITS}}})\)$", score.message)
    if mark:
        named = [row for row in named if row["sha256"].startswith(mark[1])]
    elif score.when:
        named = [row for row in named if row["when"] <= score.when]
    on_board = [row for row in named if row["board"] == BOARD]
    chosen = on_board or named
    return chosen[-1] if chosen else None
