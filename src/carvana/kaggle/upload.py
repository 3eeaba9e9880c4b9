"""Upload of submissions to Kaggle, and the wait for their scores.

A row is written to the ledger as soon as Kaggle has accepted a submission, before it is scored. If the command is
interrupted after that, `refresh_scores` adds the scores.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carvana import console
from carvana.arguments import command, option
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.kaggle.client import COMPETITION, COMPETITION_HINTS, sign_in, translate_errors
from carvana.kaggle.scores import (
    BOARD,
    KaggleSubmission,
    list_submissions,
    record_score,
    submission_message,
)
from carvana.locks import file_lock
from carvana.submission.ledger import Ledger, LedgerRow, utc_now

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

FIRST_PAUSE_S = 0.5
"""Seconds between the first two requests for scores; each further pause is longer by half."""
_MAX_PAUSE_S = 15.0


@dataclass(frozen=True)
class Upload:
    """A submission that Kaggle has accepted."""

    row: LedgerRow
    """Its row of the ledger."""
    ref: int
    """Its number on Kaggle."""


def submit(
    paths: Sequence[Path],
    *,
    message: str | None = None,
    again: bool = False,
    wait_s: float = 600.0,
    first_pause_s: float = FIRST_PAUSE_S,
) -> list[LedgerRow]:
    """Submit checked submissions of one folder to Kaggle, and wait for their scores.

    Args:
        paths: the files, in the order of the upload. Files that were submitted before are skipped.
        message: the message of each submission; by default recipe, fold and CV of the ledger.
        again: also submit files that were submitted before.
        wait_s: the time to wait for the scores, in seconds.
        first_pause_s: the first pause between requests for scores, in seconds.

    Returns:
        The ledger's rows of the skipped and of the uploaded submissions.

    Raises:
        UserError: all were submitted before; there are no credentials; the daily limit is reached; Kaggle refuses a
            submission or cannot score it. Submissions that Kaggle has accepted until then are in the ledger.
    """
    ledger = Ledger.beside(paths[0])
    # Two commands would both find that a file was not submitted before.
    with file_lock(Path(os.path.realpath(ledger.path)).with_name(".kaggle.lock"), console):
        skipped = {} if again else {path: row for path in paths if (row := _submitted_before(ledger, path))}
        if len(skipped) == len(paths):
            others = f", and so were the other {len(paths) - 1}" if len(paths) > 1 else ""
            raise UserError(
                f"{_describe_earlier(paths[0], skipped[paths[0]])}{others}; --again submits it once more"
            )
        for path, row in skipped.items():
            console.message(f"{_describe_earlier(path, row)}; skipped")
        api = sign_in()
        pending = [path for path in paths if path not in skipped]
        remaining = remaining_submissions(api)
        if remaining is not None:
            console.message(
                f"Kaggle accepts {remaining} more submissions today (UTC); {len(pending)} to upload"
            )
        uploads, failures = _upload_all(api, pending, message, remaining)
    rows, unscored = wait_for_scores(api, ledger, uploads, wait_s, first_pause_s)
    failures += unscored
    if failures:
        raise UserError("; ".join(failures))
    return [*skipped.values(), *rows]


def remaining_submissions(api: "KaggleApi") -> int | None:
    """Return the number of submissions that Kaggle accepts today (UTC); None for an account without a team.

    Raises:
        UserError: Kaggle does not return it.
    """
    with translate_errors("get the number of submissions left today", COMPETITION_HINTS):
        limits = api.competition_get_submission_limits(COMPETITION)
    has_team = limits.num_allowed_now or limits.num_today or limits.num_total
    return limits.num_allowed_now if has_team else None


def upload(api: "KaggleApi", submission: Path, message: str | None = None) -> Upload:
    """Upload a checked submission, and write its row into the ledger, without scores.

    Raises:
        UserError: Kaggle refused it, or the connection failed before the submission was complete.
    """
    ledger = Ledger.beside(submission)
    row = ledger.row_of(submission)
    text = submission_message(row, message)
    earlier_refs = {earlier.ref for earlier in list_submissions(api)}
    console.message(f"{submission}: uploading {submission.stat().st_size / 1e6:,.1f} MB")
    try:
        ref = _send(api, submission, text)
    except UserError as error:
        ref = _find_new_submission(api, submission, text, earlier_refs, error)
    on_board = ledger.find(submission.name, row["sha256"], BOARD)
    if on_board is None:  # a file that is submitted again keeps its first scores until the new ones arrive
        on_board = row | {"board": BOARD, "when": utc_now()}
        ledger.add(on_board)
    return Upload(on_board, ref)


def wait_for_scores(
    api: "KaggleApi",
    ledger: Ledger,
    uploads: Sequence[Upload],
    limit_s: float,
    first_pause_s: float = FIRST_PAUSE_S,
) -> tuple[list[LedgerRow], list[str]]:
    """Wait until Kaggle has scored all uploads, and write the scores into the ledger.

    Args:
        api: the signed-in client.
        ledger: the ledger that holds the uploads.
        uploads: the accepted submissions.
        limit_s: the time to wait, in seconds; later scores are left to `refresh_scores`.
        first_pause_s: the first pause between requests, in seconds.

    Returns:
        The rows of the uploads, with the scores that arrived, and one message per upload that Kaggle could not score;
        its row is removed from the board.
    """
    finished = _poll({sent.ref for sent in uploads}, api, limit_s, first_pause_s) if uploads else {}
    rows, failures = [], []
    for sent in uploads:
        try:
            row = record_score(ledger, sent.row, finished.get(sent.ref))
        except UserError as error:
            failures.append(str(error))
            continue
        rows.append(row)
        if not row["public"]:
            console.message(
                f"{row['submission']}: not scored yet; {_refresh_command(ledger)} gets its score later"
            )
    return rows, failures


def _upload_all(
    api: "KaggleApi", paths: Sequence[Path], message: str | None, remaining: int | None
) -> tuple[list[Upload], list[str]]:
    """Upload files until one fails or the daily limit is reached; return the uploads, and the failure if any."""
    uploads: list[Upload] = []
    for path in paths:
        if remaining is not None and len(uploads) >= remaining:
            skipped = f"{len(paths) - len(uploads)} of {len(paths)} were not submitted"
            advice = "run the same command after midnight UTC"
            return uploads, [f"{path}: the daily limit is reached, {skipped}; {advice}"]
        try:
            uploads.append(upload(api, path, message))
        except UserError as error:
            return uploads, [str(error)]
    return uploads, []


def _submitted_before(ledger: Ledger, path: Path) -> LedgerRow | None:
    """Return the newest row on Kaggle's board of a file with the same content, under any name."""
    digest = sha256_of_file(path)
    rows = [row for row in ledger.rows() if (row["board"], row["sha256"]) == (BOARD, digest)]
    return rows[-1] if rows else None


def _describe_earlier(path: Path, row: LedgerRow) -> str:
    scores = f"public {row['public']}, private {row['private']}" if row["public"] else "not scored yet"
    return f"{path}: was submitted on {row['when']} as {row['submission']} ({scores})"


def _send(api: "KaggleApi", submission: Path, text: str) -> int:
    """Send a submission with its message, and return its number on Kaggle."""
    quiet = not console.on_terminal()
    with translate_errors(str(submission), COMPETITION_HINTS):
        response = api.competition_submit(str(submission), text, COMPETITION, quiet=quiet)
    if response.message == api.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE:
        raise UserError(f"{submission}: the upload failed; run the same command again")
    if not response.ref:  # the client reports success here
        raise UserError(f"{submission}: Kaggle did not accept it ({response.message or 'no reason given'})")
    return response.ref


def _find_new_submission(
    api: "KaggleApi", submission: Path, text: str, earlier_refs: set[int], error: UserError
) -> int:
    """Return the number of a submission that Kaggle accepted although its response was lost.

    Raises:
        UserError: the submission did not arrive, or that cannot be determined; `error` is its beginning.
    """
    try:
        listed = list(list_submissions(api))
    except UserError:
        raise UserError(
            f"{error}. Whether it was submitted is unknown;"
            f" {_refresh_command(Ledger.beside(submission))} finds out"
        ) from None
    refs = [found.ref for found in listed if (found.file, found.message) == (submission.name, text)]
    new = [ref for ref in refs if ref not in earlier_refs]
    if not new:
        raise UserError(f"{error}. Nothing was submitted") from None
    return new[0]


def _refresh_command(ledger: Ledger) -> str:
    return command("compare", "--refresh", *option("--ledger", ledger.path, "submissions/ledger.csv"))


def _poll(refs: set[int], api: "KaggleApi", limit_s: float, pause_s: float) -> dict[int, KaggleSubmission]:
    """Request the submissions with these numbers until all are scored or failed, or the time is over."""
    end = time.monotonic() + limit_s
    finished: dict[int, KaggleSubmission] = {}
    with console.progress("wait for scores", len(refs), "submissions") as advance:
        while True:
            try:
                new = _finished(refs - finished.keys(), api)
            except UserError as error:  # Kaggle continues to score meanwhile
                console.message(f"{error}; trying again")
                new = {}
            finished |= new
            advance(len(new))
            if len(finished) == len(refs) or time.monotonic() + pause_s > end:
                return finished
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _MAX_PAUSE_S)


def _finished(refs: set[int], api: "KaggleApi") -> dict[int, KaggleSubmission]:
    """Return those of the submissions with these numbers that are scored or failed; older ones are not listed."""
    found: dict[int, KaggleSubmission] = {}
    for submission in list_submissions(api):
        if submission.ref in refs:
            found[submission.ref] = submission
        if len(found) == len(refs):
            break
    return {ref: submission for ref, submission in found.items() if submission.status != "PENDING"}
