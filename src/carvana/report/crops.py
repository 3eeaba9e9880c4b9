"""Crops of a photo at its full resolution, round the places where most pixels of its mask are wrong.

Most wrong pixels form lines of one or two pixels, which a photo reduced to the width of the page does not show.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from carvana.inference.standalone import resize_map
from carvana.report.drawing import EXTRA, MASK, MISSED, TRUTH, heat_map, overlay, photo_url

CROPS_PER_PHOTO = 3
"""Largest number of crops of a photo."""

CROP_SIDE = 96
"""Side of a crop in pixels."""

_STEP = 4
"""Side of the blocks of pixels whose wrong pixels are counted together when places are compared."""

_JPEG_QUALITY = 90
"""Quality of a crop: artefacts must not be taken for details of the photo."""


@dataclass(frozen=True)
class Crop:
    """A part of a photo at full resolution, as data URLs for the page."""

    number: int
    """Number of the crop in its photo, from 1; the one with most errors is the first."""
    top: int
    left: int
    size: tuple[int, int]
    """(height, width) in pixels."""
    wrong: int
    """Number of wrong pixels in it."""
    photo: str
    truth: str
    mask: str
    difference: str
    probability: str

    @property
    def n_bytes(self) -> int:
        """Bytes of its images in the page."""
        return sum(map(len, (self.photo, self.truth, self.mask, self.difference, self.probability)))


def worst_crops(
    photo: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray,
    probabilities: np.ndarray,
    count: int = CROPS_PER_PHOTO,
) -> list[Crop]:
    """Cut crops round the places with most wrong pixels, which do not share wrong pixels.

    Args:
        photo: (height, width, 3), uint8, RGB.
        truth: (height, width), bool, the true mask.
        mask: (height, width), bool, the predicted mask.
        probabilities: (h, w), float32, 0..1, of any resolution.
        count: the largest number of crops; there are fewer if these contain all wrong pixels.
    """
    probabilities = resize_map(probabilities, truth.shape)
    crops = []
    for number, (top, left) in enumerate(worst_places(truth ^ mask, count), start=1):
        window = slice(top, top + CROP_SIDE), slice(left, left + CROP_SIDE)
        of_truth, of_mask = truth[window], mask[window]
        size = of_truth.shape
        crops.append(
            Crop(
                number=number,
                top=top,
                left=left,
                size=size,
                wrong=int(np.count_nonzero(of_truth ^ of_mask)),
                photo=photo_url(photo[window], _JPEG_QUALITY),
                truth=overlay([(of_truth, TRUTH)], size, share=0.5, opacity=0.55),
                mask=overlay([(of_mask, MASK)], size, share=0.5, opacity=0.55),
                difference=overlay(
                    [(of_truth & ~of_mask, MISSED), (of_mask & ~of_truth, EXTRA)],
                    size,
                    share=0.5,
                    opacity=0.9,
                ),
                probability=heat_map(probabilities[window]),
            )
        )
    return crops


def worst_places(wrong: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Find the crops in which most pixels are wrong.

    Wrong pixels are weighted by a Gaussian round the middle of a crop, so that the errors are in its middle. Pixels
    of a crop do not count for the crops after it.

    Args:
        wrong: (height, width), bool.
        count: the largest number of crops.

    Returns:
        Row and column of the top left pixel of each crop, which lies within the photo, the worst first.
    """
    left_over = wrong.copy()
    places: list[tuple[int, int]] = []
    limits = [max(0, side - CROP_SIDE) for side in wrong.shape]
    while len(places) < count and left_over.any():
        row, column = _densest_place(left_over)
        top, left = (
            min(max(0, at - CROP_SIDE // 2), limit) for at, limit in zip((row, column), limits, strict=True)
        )
        window = left_over[top : top + CROP_SIDE, left : left + CROP_SIDE]
        if not window.any():  # the weights beyond the edge of a crop may add up to the largest sum
            break
        window[:] = False
        places.append((top, left))
    return places


def _densest_place(wrong: np.ndarray) -> tuple[int, int]:
    """Return the row and the column round which most pixels are wrong."""
    height, width = wrong.shape
    blocks = max(1, round(width / _STEP)), max(1, round(height / _STEP))
    density = cv2.resize(wrong.astype(np.float32), blocks, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(density, (0, 0), CROP_SIDE / 4 / _STEP, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(smooth.argmax(), smooth.shape)
    return round((row + 0.5) * height / blocks[1]), round((column + 0.5) * width / blocks[0])
