"""Scoring of a submission against known masks."""

from pathlib import Path

import numpy as np
import pandas as pd

from carvana.competition import SIZE, rle
from carvana.competition.dice import dice_from_edges
from carvana.competition.names import check_listed_once
from carvana.data import images
from carvana.errors import prefix_errors
from carvana.evaluation.scores import check_names
from carvana.tables import TEXT, Text, check_column, read_csv


def score_submission(submission: Path, truth: Path, size: tuple[int, int] | None = None) -> pd.DataFrame:
    """Score a submission against known masks.

    Args:
        submission: a CSV file with the columns img and rle_mask.
        truth: a CSV file with the same columns, and optionally Usage (Public or Private).
        size: (height, width) of the photos that are not found; by default the competition's. A mask must lie within
            its photo, which is looked for in the folder of the truth and in its folders `test` and `train`.

    Returns:
        Columns img and dice, and Usage where the truth has it: one photo per row, in the order of the truth.

    Raises:
        UserError: the files do not hold the same photos, each once, or a mask or a Usage is malformed, or a mask
            exceeds the photo.
    """
    masks = read_csv(submission, {"img": TEXT, "rle_mask": TEXT})
    truths = read_csv(truth, {"img": TEXT, "rle_mask": TEXT})
    check_listed_once(truths["img"].tolist(), truth)
    if "Usage" in truths:
        check_column(truth, truths["Usage"], Text("(?i)public|private", "Public or Private"))
    check_names(masks["img"], truths["img"].tolist(), submission)
    pairs = truths.merge(masks, on="img", how="left", suffixes=("", "_submitted"), validate="one_to_one")
    rows = zip(pairs["img"], pairs["rle_mask"], pairs["rle_mask_submitted"], strict=True)
    dice = []
    for name, known, submitted in rows:
        own_size = _photo_size(truth.parent, name, size or SIZE)
        edges = _edges(known, name, truth, own_size), _edges(submitted, name, submission, own_size)
        dice.append(dice_from_edges(*edges))
    pairs["dice"] = dice
    return pairs[[column for column in ("img", "dice", "Usage") if column in pairs]]


def _photo_size(folder: Path, name: str, fallback: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of a photo beside its truth, or `fallback` if there is none."""
    places = (folder / name, folder / "test" / name, folder / "train" / name)
    photo = next((path for path in places if path.is_file()), None)
    return images.photo_size(photo) if photo else fallback


def _edges(mask: str, name: str, path: Path, size: tuple[int, int]) -> np.ndarray:
    """Parse the mask of the photo `name` in the table at `path`, which must lie within `size` (height, width)."""
    with prefix_errors(f"{path}: {name}"):
        starts, lengths = rle.parse_runs(mask)
        rle.check_bounds(starts, lengths, size)
        return rle.runs_to_edges(starts, lengths)
