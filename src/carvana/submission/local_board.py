"""The local board: scores of a submission where the true masks of the test photos are known."""

from pathlib import Path

import pandas as pd

from carvana.evaluation.scores import format_dice
from carvana.submission.ledger import Ledger, LedgerRow, utc_now
from carvana.submission.scoring import score_submission

BOARD = "local"
"""Name of the local board in the ledger."""


def submit_to_local_board(submission: Path, truth: Path) -> LedgerRow:
    """Score a submission on the local board, and write the scores into the ledger beside it.

    Args:
        submission: the file, already checked.
        truth: a CSV file with the columns img, rle_mask and Usage (Public or Private).

    Returns:
        The submission's row of the ledger.

    Raises:
        UserError: submission and truth do not hold the same photos.
    """
    scores = score_submission(submission, truth)
    ledger = Ledger.beside(submission)
    row = ledger.row_of(submission)
    row |= {name: format_dice(dice) for name, dice in board_scores(scores).items()}
    row |= {"board": BOARD, "when": utc_now()}
    ledger.add(row)
    return row


def board_scores(scores: pd.DataFrame) -> dict[str, float]:
    """Return the mean Dice `public` and `private` by the column Usage; nothing where there is no such column."""
    if "Usage" not in scores:
        return {}
    return scores["dice"].groupby(scores["Usage"].str.lower()).mean().to_dict()
