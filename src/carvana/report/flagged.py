"""Test photos to look at before upload: those whose masks are most likely wrong, as listed by the prediction."""

from collections.abc import Iterator, Mapping, Sequence
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
from carvana.report.gallery import CARD_BYTES
from carvana.submission.csv_file import read_masks
from carvana.submission.ledger import LedgerRow


@dataclass(frozen=True)
class FlaggedMask:
    """A test photo with a suspect mask, as embedded images."""

    submission: str
    place: int
    """Place on the submission's list, from 1."""
    reason: str
    img: str
    car: str
    angle: int
    make: str
    measures: str
    """The mask's measures as text."""
    size: tuple[int, int]
    """(height, width) of the images."""
    photo: str
    """Data URL of the photo."""
    mask: str
    """Data URL of the mask's overlay."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the photo in the page."""
        return CARD_BYTES + len(self.photo) + len(self.mask)


@dataclass(frozen=True)
class FlaggedMasks:
    """The drawn test photos, and of how many they are."""

    drawn: Sequence[FlaggedMask]
    listed: int
    """Number of photos on all lists."""


def flagged_masks(
    rows: Sequence[LedgerRow], folder: Path, data: Path, makes: pd.Series, max_bytes: int
) -> FlaggedMasks:
    """Draw the suspects that are listed beside submissions, the newest submission first.

    Args:
        rows: rows of the ledger, the oldest first.
        folder: the folder of the submissions.
        data: the data folder with the test photos.
        makes: the make of each car, indexed by car.
        max_bytes: bytes of all photos in the page, at most.

    Raises:
        UserError: the data folder has no test photos, or a file is malformed.
    """
    files = [folder / name for name in dict.fromkeys(row["submission"] for row in reversed(rows))]
    suspects = {
        file: mask_checks.read_suspects(mask_checks.suspects_path(file))
        for file in files
        if file.is_file() and mask_checks.suspects_path(file).is_file()
    }
    if not suspects:
        return FlaggedMasks([], 0)
    photos = {photo.name: photo for photo in test_samples(data)}
    drawn: list[FlaggedMask] = []
    for flagged in _draw_all(suspects, photos, makes):
        max_bytes -= flagged.n_bytes
        if max_bytes < 0:
            break
        drawn.append(flagged)
    return FlaggedMasks(drawn, sum(map(len, suspects.values())))


def _draw_all(
    suspects: Mapping[Path, Sequence[mask_checks.Suspect]], photos: Mapping[str, Sample], makes: pd.Series
) -> Iterator[FlaggedMask]:
    """Draw the suspects of each submission, as far as their photos and masks exist."""
    for submission, listed in suspects.items():
        masks = read_masks(submission, {suspect.img for suspect in listed if suspect.img in photos})
        for place, suspect in enumerate(listed, start=1):
            if suspect.img in masks:
                photo, mask = photos[suspect.img], masks[suspect.img]
                yield _draw(submission.name, place, suspect, photo, mask, makes)


def _draw(
    submission: str, place: int, suspect: mask_checks.Suspect, photo: Sample, mask: str, makes: pd.Series
) -> FlaggedMask:
    photo_size = images.photo_size(photo.path)
    size = shown_size(photo_size)
    car, angle = car_and_angle(suspect.img)
    return FlaggedMask(
        submission=submission,
        place=place,
        reason=suspect.reason,
        img=suspect.img,
        car=car,
        angle=angle,
        make=makes.get(car, UNKNOWN),
        measures=_describe(suspect),
        size=size,
        photo=photo_url(images.read_photo(photo.path, size)),
        mask=overlay([(rle.decode(mask, photo_size), MASK)], size, share=0.5, opacity=0.55),
    )


def _describe(suspect: mask_checks.Suspect) -> str:
    measures = [
        f"{suspect.share:.1%} of the photo",
        f"area differs by {suspect.area_residual:.1%} from the other views",
    ]
    if suspect.n_components > 1:
        measures.append(f"{suspect.n_components} components, the second of {suspect.second_area:,} pixels")
    if suspect.disagreement:
        measures.append(f"folds disagree on {suspect.disagreement:.1%} of the car")
    return ", ".join(measures)
