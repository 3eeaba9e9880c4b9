"""The local board: the leaderboard at home, where the truth of the test photos is known."""

from pathlib import Path

import pandas as pd

from carvana.evaluation.scores import score_submission
from carvana.submission.ledger import Ledger, LedgerRow, now


def submit_to_local_board(submission: Path, truth: Path) -> LedgerRow:
    """Score a submission on the local board, and write the scores into its ledger.

    Args:
        submission: the file, checked.
        truth: columns img, rle_mask and Usage (Public or Private).

    Returns:
        Its row in the ledger.
    """
    scores = score_submission(submission, truth)
    ledger = Ledger.beside(submission)
    row = ledger.row_of(submission)
    row |= {name: f"{dice:.6f}" for name, dice in board_scores(scores).items()}
    row |= {"board": "local", "when": now()}
    ledger.add(row)
    return row


def board_scores(scores: pd.DataFrame) -> dict[str, float]:
    """The mean Dice `public` and `private`, as far as the column Usage tells them apart."""
    if "Usage" not in scores:
        return {}
    return scores["dice"].groupby(scores["Usage"].str.lower()).mean().to_dict()
