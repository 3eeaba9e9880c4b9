"""Names of photos and masks: `<car>_<angle>.jpg` and `<car>_<angle>_mask.gif`."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from carvana.errors import UserError

ANGLES = 16
"""Views per car, 22.5 degrees apart: angle 01..16 is the position of the turntable."""

PHOTO_PATTERN = r"(?P<car>[0-9a-f]{12})_(?P<angle>0[1-9]|1[0-6])\.jpg"
"""Regular expression of a photo's name."""

PHOTO_FORM = "<12 hex digits>_<01..16>.jpg"
"""The same for people."""


def photo_name(car: str, angle: int) -> str:
    """Return the file name of a car's photo, e.g. `00087a6bd4dc_01.jpg`."""
    return f"{car}_{angle:02d}.jpg"


def mask_name(photo: str) -> str:
    """Return the file name of a photo's mask, e.g. `00087a6bd4dc_01_mask.gif`."""
    return f"{PurePath(photo).stem}_mask.gif"


def car_and_angle(photo: str) -> tuple[str, int]:
    """Split a photo's name into its car (12 hex digits) and angle (1..16).

    Raises:
        UserError: the name does not have the competition's form.
    """
    match = re.fullmatch(PHOTO_PATTERN, photo)
    if match is None:
        raise UserError(f"{photo}: not a Carvana photo's name; expected {PHOTO_FORM}")
    return match["car"], int(match["angle"])


def car_id(photo: str) -> str:
    """Return the car (12 hex digits) of a photo's name."""
    return car_and_angle(photo)[0]


def check_listed_once(photos: Sequence[str], path: Path) -> None:
    """Raise UserError if the table at `path`, which lists these photos, lists none, or one more than once."""
    if not photos:
        raise UserError(f"{path}: lists no photos; it has no row below its header")
    counts = Counter(photos)
    if len(counts) < len(photos):
        first = next(photo for photo, count in counts.items() if count > 1)
        raise UserError(
            f"{path}: has {first} more than once ({len(photos) - len(counts)} duplicate rows in all)"
        )
