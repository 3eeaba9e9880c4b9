"""Patches along contours: where they lie, what is in them, and how they are pasted back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.inference.standalone import cut_patches, paste, patch_corners, resize_map

SIZE = (160, 240)
PATCH, SPACING = 32, 16


def _disc(row: float, column: float, radius: float, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Draw a soft disc: (h, w), float32, 0..1."""
    rows, columns = np.indices(size)
    distance = np.hypot(rows - row, columns - column)
    return np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)


def _covered(corners: np.ndarray) -> np.ndarray:
    covered = np.zeros(SIZE, bool)
    for row, column in corners:
        covered[row : row + PATCH, column : column + PATCH] = True
    return covered


def test_patches_cover_the_contour_and_little_else() -> None:
    corners = patch_corners(_disc(20, 30, 12), SIZE, PATCH, SPACING)
    covered = _covered(corners)
    upsampled = resize_map(_disc(20, 30, 12), SIZE)
    assert covered[(upsampled > 0.2) & (upsampled < 0.8)].all()
    assert not covered[80, 120]
    assert not covered[0, 0]


@given(
    st.lists(
        st.tuples(st.floats(-5, 45), st.floats(-5, 65), st.floats(0.6, 30), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_every_contour_lies_in_patches_whose_number_is_bounded(
    discs: list[tuple[float, float, float, bool]],
) -> None:
    probabilities = np.zeros((40, 60), np.float32)
    for row, column, radius, is_hole in discs:
        disc = _disc(row, column, radius)
        probabilities = np.minimum(probabilities, 1 - disc) if is_hole else np.maximum(probabilities, disc)
    corners = patch_corners(probabilities, SIZE, PATCH, SPACING)
    assert (corners >= 0).all()
    assert (corners <= np.array(SIZE) - PATCH).all()
    cells = [-(-side // SPACING) + 1 for side in SIZE]
    assert len(corners) <= cells[0] * cells[1]
    car = probabilities > 0.5
    contour = car & ~cv2.erode(car.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    covered = _covered(corners)
    for row, column in np.argwhere(contour):
        assert covered[round((row + 0.5) * 4 - 0.5), round((column + 0.5) * 4 - 0.5)]


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_photo_without_a_contour_has_no_patches(probability: float) -> None:
    """All background, or all car: the photo's border is no contour."""
    assert patch_corners(np.full((40, 60), probability, np.float32), SIZE, PATCH, SPACING).shape == (0, 2)


def test_a_single_pixel_of_car_has_one_patch() -> None:
    probabilities = np.zeros((40, 60), np.float32)
    probabilities[20, 30] = 1
    assert patch_corners(probabilities, SIZE, PATCH, SPACING).tolist() == [[66, 106]]


def test_a_patch_holds_the_photo_and_the_probability() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    probabilities = _disc(20, 30, 12)
    (patch,) = cut_patches(photo, probabilities, np.array([[50, 60]]), 32)
    assert np.array_equal(patch[..., :3], photo[50:82, 60:92])
    assert np.abs(patch[..., 3] - 255 * resize_map(probabilities, SIZE)[50:82, 60:92]).max() <= 0.5


def test_pasting_what_was_cut_changes_nothing() -> None:
    probabilities = resize_map(_disc(20, 30, 12), SIZE)
    corners = patch_corners(_disc(20, 30, 12), SIZE, PATCH, SPACING)
    patches = np.stack([probabilities[row : row + 32, column : column + 32] for row, column in corners])
    pasted = probabilities.copy()
    paste(pasted, corners, patches)
    assert np.abs(pasted - probabilities).max() < 1e-6


def test_outside_of_patches_a_map_stays_as_it_is() -> None:
    probabilities = resize_map(_disc(20, 30, 12), SIZE)
    corners = patch_corners(_disc(20, 30, 12), SIZE, PATCH, SPACING)
    pasted = probabilities.copy()
    paste(pasted, corners, np.full((len(corners), 32, 32), 0.25, np.float32))
    covered = _covered(corners)
    assert np.array_equal(pasted[~covered], probabilities[~covered])
    assert np.abs(pasted[covered] - 0.25).max() < 1e-6


def test_overlapping_patches_are_weighted_by_the_distance_from_their_border() -> None:
    pasted = np.zeros((32, 48), np.float32)
    paste(pasted, np.array([[0, 0], [0, 16]]), np.stack([np.zeros((32, 32)), np.ones((32, 32))]))
    assert pasted[16, 15] == 0
    assert pasted[16, 32] == 1
    assert np.all(np.diff(pasted[16]) >= 0)
    assert pasted[16, 23] + pasted[16, 24] == pytest.approx(1)


def test_what_is_not_refined_is_added_to_the_patches() -> None:
    pasted = np.full((32, 32), 0.5, np.float32)
    unrefined = np.full((32, 32), 0.25, np.float32)
    paste(pasted, np.array([[0, 0]]), np.full((1, 32, 32), 0.6, np.float32), unrefined)
    assert np.allclose(pasted, 0.85)
