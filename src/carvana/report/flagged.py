"""Test photos to look at before upload: those whose masks most likely went wrong, as `predict` listed them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana.competition import rle
from carvana.competition.names import car_and_angle
from carvana.data import images
from carvana.data.dataset import Sample, test_samples
from carvana.evaluation import mask_checks
from carvana.report.drawing import MASK, overlay, photo_url, shown_size
from carvana.report.experiments import UNKNOWN
from carvana.submission.csv_file import read_masks
from carvana.submission.ledger import LedgerRow


@dataclass(frozen=True)
class FlaggedMask:
    """A photo of the list, as pictures that lie in the page itself."""

    submission: str
    place: int
    """On its list, from 1."""
    reason: str
    img: str
    car: str
    angle: int
    make: str
    measures: str
    """What was found, for people."""
    size: tuple[int, int]
    """(height, width) of the pictures."""
    photo: str
    mask: str


def flagged_masks(rows: Sequence[LedgerRow], folder: Path, data: Path, makes: pd.Series) -> list[FlaggedMask]:
    """Draw the photos that are listed beside submissions, the newest submission's first.

    Args:
        rows: of the ledger, the oldest first.
        folder: that the submissions lie in.
        data: the data folder that they were predicted of.
        makes: the make of each car.

    Raises:
        UserError: the data folder has no test photos, or a file is not whole.
    """
    files = [folder / name for name in dict.fromkeys(row["submission"] for row in reversed(rows))]
    listed = [file for file in files if file.is_file() and mask_checks.suspects_path(file).is_file()]
    if not listed:
        return []
    photos = {photo.name: photo for photo in test_samples(data)}
    return [flagged_mask for file in listed for flagged_mask in _of_submission(file, photos, makes)]


def _of_submission(submission: Path, photos: dict[str, Sample], makes: pd.Series) -> list[FlaggedMask]:
    table = mask_checks.read_suspects(mask_checks.suspects_path(submission))
    table = table[table["img"].isin(photos)]
    masks = read_masks(submission, set(table["img"]))
    return [
        _doubt(submission.name, place, row, photos[row.img], masks[row.img], makes)
        for place, row in enumerate(table.itertuples(), start=1)
        if row.img in masks
    ]


def _doubt(
    submission: str, place: int, row: object, photo: Sample, mask: str, makes: pd.Series
) -> FlaggedMask:
    own = images.photo_size(photo.path)
    size = shown_size(own)
    car, angle = car_and_angle(row.img)
    return FlaggedMask(
        submission=submission,
        place=place,
        reason=row.reason,
        img=row.img,
        car=car,
        angle=angle,
        make=makes.get(car, UNKNOWN),
        measures=_measures(row),
        size=size,
        photo=photo_url(images.read_photo(photo.path, size)),
        mask=overlay([(rle.decode(mask, own), MASK)], size, share=0.5, opacity=0.55),
    )


def _measures(row: object) -> str:
    found = [f"{row.share:.1%} of the photo", f"{row.area_residual:.1%} off its other views"]
    if row.n_components > 1:
        found.append(f"{row.n_components} contours, the second of {row.second_area:,} pixels")
    if row.disagreement:
        found.append(f"folds disagree on {row.disagreement:.1%} of the car")
    return ", ".join(found)
