"""Augmentation."""

import numpy as np
import pytest

from carvana.data.augmentation import Augmenter
from carvana.recipe import Augmentation


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A photo with a bright box, and the box's mask."""
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[10:30, 12:40] = 255
    return np.stack([mask // 2 + 60] * 3, axis=-1), mask


def test_default_augmentation_changes_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    photo, mask = Augmenter(Augmentation())(*pair, seed=1)
    assert photo is pair[0]
    assert mask is pair[1]


def test_flip_mirrors_photo_and_mask(pair: tuple[np.ndarray, np.ndarray]) -> None:
    photo, mask = Augmenter(Augmentation(flip=1))(*pair, seed=1)
    assert np.array_equal(photo, pair[0][:, ::-1])
    assert np.array_equal(mask, pair[1][:, ::-1])


def test_affine_changes_apply_to_photo_and_mask_alike(pair: tuple[np.ndarray, np.ndarray]) -> None:
    augmenter = Augmenter(Augmentation(shift=0.1, scale=0.2, rotate=10, probability=1))
    for seed in range(5):
        photo, mask = augmenter(*pair, seed=seed)
        assert not np.array_equal(mask, pair[1])
        assert np.abs(photo[..., 0].astype(int) - (mask // 2 + 60)).max() <= 2


def test_colour_changes_leave_the_mask_unchanged(pair: tuple[np.ndarray, np.ndarray]) -> None:
    colours = Augmentation(brightness=0.3, contrast=0.3, hue=0.1, saturation=0.3, probability=1)
    photo, mask = Augmenter(colours)(*pair, seed=0)
    assert np.array_equal(mask, pair[1])
    assert not np.array_equal(photo, pair[0])


def test_seed_determines_the_augmentation(pair: tuple[np.ndarray, np.ndarray]) -> None:
    config = Augmentation(flip=0.5, shift=0.1, rotate=9, brightness=0.2, saturation=0.2)
    first, second = Augmenter(config), Augmenter(config)
    second(*pair, seed=99)
    photos = [first(*pair, seed=seed)[0] for seed in range(4)]
    assert all(np.array_equal(photos[seed], second(*pair, seed=seed)[0]) for seed in (3, 2, 1, 0))
    assert not np.array_equal(photos[0], photos[1])
