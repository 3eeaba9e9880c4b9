"""Photos and masks of a scene."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from carvana.turntable.materials import Material
from carvana.turntable.renderer import render_view
from carvana.turntable.scene import Scene, build_scene


@pytest.fixture(scope="module")
def red_hatchback() -> Scene:
    index = 5 + 12 * 3  # the sixth paint is red
    scene = build_scene(index, (160, 240), np.random.default_rng(1))
    assert scene.car.materials.albedo[Material.PAINT].argmax() == 0
    return scene


def view(scene: Scene, angle: int = 4) -> tuple[np.ndarray, np.ndarray]:
    photo, mask = render_view(scene, angle, 16, np.random.default_rng(0))
    return photo.astype(int), mask


def test_studio_is_visible_through_the_windows(red_hatchback: Scene) -> None:
    bright, mask = view(replace(red_hatchback, background=np.full_like(red_hatchback.background, 0.9)))
    dark, _ = view(replace(red_hatchback, background=np.full_like(red_hatchback.background, 0.1)))
    glass = (np.abs(bright - dark).min(axis=2) > 20)[ndimage.binary_erosion(mask, iterations=2)]
    assert 0.02 < glass.mean() < 0.3


def test_shadow_darkens_the_floor_and_is_not_car(red_hatchback: Scene) -> None:
    photo, mask = view(red_hatchback)
    without, same_mask = view(replace(red_hatchback, shadow_map=np.ones_like(red_hatchback.shadow_map)))
    shadow = (without - photo).min(axis=2) > 15
    assert (mask == same_mask).all()
    assert (shadow & ~mask).mean() > 0.02


def test_floor_reflects_the_car_and_the_reflection_is_not_car(red_hatchback: Scene) -> None:
    studio = red_hatchback.studio
    matt, mask = view(replace(red_hatchback, studio=replace(studio, floor_reflectance=0.0)))
    glossy, same_mask = view(replace(red_hatchback, studio=replace(studio, floor_reflectance=0.3)))
    redder = (glossy[..., 0] - glossy[..., 1]) - (matt[..., 0] - matt[..., 1]) > 10
    assert (mask == same_mask).all()
    assert (redder & ~mask).mean() > 0.02


def test_car_fits_into_photos_that_are_higher_than_wide() -> None:
    photo, mask = view(build_scene(2, (75, 61), np.random.default_rng(0)))
    assert (photo.shape, mask.shape) == ((75, 61, 3), (75, 61))
    assert not mask[:, [0, -1]].any()
