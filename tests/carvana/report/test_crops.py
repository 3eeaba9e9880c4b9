"""Crops at full resolution round the worst errors of a photo."""

import base64
import io

import numpy as np
from PIL import Image

from carvana.report.crops import CROP_SIDE, worst_crops, worst_places
from carvana.report.drawing import HEAT_COLOURS


def _pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def test_the_worst_errors_are_in_the_middle_of_the_crops() -> None:
    wrong = np.zeros((400, 600), bool)
    wrong[200:202, 290:320] = True  # 60 pixels
    wrong[80:82, 500:510] = True  # 20 pixels
    (top, left), second = worst_places(wrong, count=2)
    assert abs(top + CROP_SIDE / 2 - 201) <= 4
    assert abs(left + CROP_SIDE / 2 - 305) <= 4
    assert second[0] < 81 < second[0] + CROP_SIDE
    assert len(worst_places(wrong, count=5)) == 2  # they contain all wrong pixels


def test_a_crop_lies_within_the_photo() -> None:
    wrong = np.zeros((400, 600), bool)
    wrong[0, 0] = wrong[399, 599] = True
    assert set(worst_places(wrong, count=3)) == {(0, 0), (400 - CROP_SIDE, 600 - CROP_SIDE)}
    assert worst_places(np.ones((40, 60), bool), count=3) == [(0, 0)]
    assert worst_places(np.zeros((40, 60), bool), count=3) == []


def test_a_crop_shows_photo_masks_and_probability_pixel_by_pixel() -> None:
    random = np.random.default_rng(0)
    photo = np.full((200, 300, 3), 90, np.uint8)
    truth, mask = np.zeros((2, 200, 300), bool)
    truth[50:150, 100:200] = mask[50:150, 100:200] = True
    mask[50:150, 199] = False  # one column is missed
    probabilities = random.random((200, 300), np.float32)
    (crop,) = worst_crops(photo, truth, mask, probabilities, count=1)
    window = slice(crop.top, crop.top + CROP_SIDE), slice(crop.left, crop.left + CROP_SIDE)
    assert crop.wrong == np.count_nonzero((truth ^ mask)[window]) == CROP_SIDE
    assert np.array_equal(_pixels(crop.truth)[..., 3] > 0, truth[window])
    assert np.array_equal(_pixels(crop.mask)[..., 3] > 0, mask[window])
    assert np.array_equal(_pixels(crop.difference)[..., 3] > 0, (truth ^ mask)[window])
    assert np.abs(_pixels(crop.photo)[..., :3].astype(int) - 90).max() <= 2
    heat = _pixels(crop.probability)[..., :3]
    nearest = np.abs(heat[..., None, :].astype(int) - np.array(HEAT_COLOURS)).sum(axis=-1).argmin(axis=-1)
    assert np.abs(nearest / 255 - probabilities[window]).max() <= 0.51 / 63 + 0.003
