"""The real board: upload with Kaggle's client, wait for the scores, and keep the ledger right whatever happens.

A row is written as soon as Kaggle has taken a submission, before it is scored: whatever is cut off after that,
`refresh` finds the scores.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carvana import console
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.kaggle.client import COMPETITION, sign_in, translate_errors
from carvana.kaggle.scores import BOARD, Score, record_score, submission_message, submissions
from carvana.submission.ledger import Ledger, LedgerRow, now

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True)
class Upload:
    """A submission that Kaggle has taken."""

    row: LedgerRow
    ref: int


def submit(
    paths: Sequence[Path], *, message: str | None = None, again: bool = False, wait_s: float = 600.0
) -> list[LedgerRow]:
    """Submit checked submissions that lie in one folder, and wait for their scores.

    Args:
        paths: the files, in the order in which they are uploaded. Of several, those submitted before are left out.
        message: what stands beside each on Kaggle; by default what the ledger knows of it.
        again: submit the same bytes again.
        wait_s: seconds to wait for the scores.

    Returns:
        The rows of what was uploaded, and of what was left out, in the ledger.

    Raises:
        UserError: the only one was submitted before; there are no credentials; no submission is left today, or
            too few; Kaggle refused one, or could not score it. What was taken until then is in the ledger.
    """
    ledger = Ledger.beside(paths[0])
    before = {} if again else {path: row for path in paths if (row := _submitted_before(ledger, path))}
    if len(before) == len(paths):
        others = f", and so were the other {len(paths) - 1}" if len(paths) > 1 else ""
        raise UserError(f"{_said_before(paths[0], before[paths[0]])}{others}; --again submits anyway")
    for path, row in before.items():
        console.message(f"{_said_before(path, row)}; it is left out")
    api = sign_in()
    wanted = [path for path in paths if path not in before]
    left = remaining_submissions(api)
    if left is not None:
        console.message(f"Kaggle takes {left} more submissions today (UTC); here are {len(wanted)}")
    uploads, failures = _upload_all(api, wanted, message, left)
    rows = []
    if uploads:
        rows, unscored = wait(api, ledger, uploads, wait_s)
        failures += unscored
    if failures:
        raise UserError("; ".join(failures))
    return [*before.values(), *rows]


def _upload_all(
    api: "KaggleApi", paths: Sequence[Path], message: str | None, left: int | None
) -> tuple[list[Upload], list[str]]:
    """Upload files until one fails or the limit is reached; returns what Kaggle took, and what went wrong."""
    uploads: list[Upload] = []
    for path in paths:
        if left is not None and len(uploads) >= left:
            missing = f"{len(paths) - len(uploads)} of {len(paths)} were not submitted"
            said = f"{path}: today's limit is reached, {missing}; the same command goes on after midnight UTC"
            return uploads, [said]
        try:
            uploads.append(upload(api, path, message))
        except UserError as error:
            return uploads, [str(error)]
    return uploads, []


def _submitted_before(ledger: Ledger, path: Path) -> LedgerRow | None:
    """The newest row of the same bytes, whatever the file's name, that is on Kaggle already."""
    digest = sha256_of_file(path)
    same = [row for row in ledger.rows() if (row["board"], row["sha256"]) == (BOARD, digest)]
    return same[-1] if same else None


def _said_before(path: Path, row: LedgerRow) -> str:
    scores = f"public {row['public']}, private {row['private']}" if row["public"] else "not scored yet"
    return f"{path}: was submitted on {row['when']} as {row['submission']} ({scores})"


def remaining_submissions(api: "KaggleApi") -> int | None:
    """How many submissions Kaggle still takes today (UTC); None where the account has not merge_models yet.

    Raises:
        UserError: Kaggle does not say.
    """
    with translate_errors("ask for the submissions left today"):
        limits = api.competition_get_submission_limits(COMPETITION)
    merge_models = (
        limits.num_allowed_now or limits.num_today or limits.num_total
    )  # zeros alone: not on a team
    return limits.num_allowed_now if merge_models else None


def upload(api: "KaggleApi", submission: Path, message: str | None = None) -> Upload:
    """Upload a checked submission, and write its row into the ledger, still without scores.

    Raises:
        UserError: Kaggle refused it, or was cut off. Nothing was submitted then.
    """
    ledger = Ledger.beside(submission)
    row = ledger.row_of(submission)
    text = submission_message(row, message)
    known = {score.ref for score in submissions(api)}
    console.message(f"{submission}: uploading {submission.stat().st_size / 1e6:,.1f} MB")
    try:
        ref = _send(api, submission, text)
    except UserError as error:
        ref = _arrived(api, submission, text, known, error)
    on_board = ledger.find(submission.name, row["sha256"], BOARD)
    if on_board is None:  # of bytes that are sent again the first scores stand until the new ones are there
        on_board = row | {"board": BOARD, "when": now()}
        ledger.add(on_board)
    return Upload(on_board, ref)


def _send(api: "KaggleApi", submission: Path, text: str) -> int:
    quiet = not console.on_terminal()
    with translate_errors(str(submission)):
        answer = api.competition_submit(str(submission), text, COMPETITION, quiet=quiet)
    if answer.message == api.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE:
        raise UserError(f"{submission}: the upload failed on its way; the same command tries again")
    if not answer.ref:  # the client takes this for success
        raise UserError(f"{submission}: Kaggle did not take it ({answer.message or 'it does not say why'})")
    return answer.ref


def _arrived(api: "KaggleApi", submission: Path, text: str, known: set[int], error: UserError) -> int:
    """The number of a submission that counts although Kaggle's answer was lost.

    Raises:
        UserError: as `error`, where it did not arrive, or nobody can tell.
    """
    try:
        scores = list(submissions(api))
    except UserError:
        raise UserError(
            f"{error}. Whether it was submitted is not known; `./run.sh compare --refresh` asks"
        ) from None
    same = [one.ref for one in scores if (one.file, one.message) == (submission.name, text)]
    new = [ref for ref in same if ref not in known]
    if not new:
        raise UserError(f"{error}. Nothing was submitted") from None
    return new[0]


def wait(
    api: "KaggleApi", ledger: Ledger, uploads: Sequence[Upload], limit_s: float
) -> tuple[list[LedgerRow], list[str]]:
    """Wait until Kaggle has scored all uploads, and write the scores into the ledger.

    Args:
        api: signed in.
        ledger: that the uploads stand in.
        uploads: in any order.
        limit_s: seconds after which those still unscored are left to `refresh`.

    Returns:
        Their rows, with scores as far as there are any, and a line for each that Kaggle could not score: its row
        is no longer on the board.
    """
    scores = _wait_for({sent.ref for sent in uploads}, api, limit_s)
    rows, failures = [], []
    for sent in uploads:
        row, failure = record_score(ledger, sent.row, scores.get(sent.ref))
        rows.append(row)
        failures += failure
        if not row["public"] and not failure:
            console.message(f"{row['submission']}: not scored yet; `./run.sh compare --refresh` asks again")
    return rows, failures


def _wait_for(refs: set[int], api: "KaggleApi", limit_s: float) -> dict[int, Score]:
    """The scores, or failures, of the submissions with these numbers, as far as Kaggle gives them in time."""
    ends, pause = time.monotonic() + limit_s, _FIRST_PAUSE_S
    judged: dict[int, Score] = {}
    with console.progress("wait for scores", len(refs), "submissions") as advance:
        while True:
            try:
                new = _judged(refs - judged.keys(), api)
            except UserError as error:  # the scoring goes on without us
                console.message(f"{error}; asking again")
                new = {}
            judged |= new
            advance(len(new))
            if len(judged) == len(refs) or time.monotonic() + pause > ends:
                return judged
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def _judged(refs: set[int], api: "KaggleApi") -> dict[int, Score]:
    """Of the submissions with these numbers those that Kaggle is done with; older pages are not asked for."""
    found: dict[int, Score] = {}
    for score in submissions(api):
        if score.ref in refs:
            found[score.ref] = score
        if len(found) == len(refs):
            break
    return {ref: score for ref, score in found.items() if score.status != "PENDING"}
