"""Camera and turntable."""

import numpy as np
import pytest

from carvana.turntable.camera import Camera, sample_camera, turntable_rotation


@pytest.fixture
def camera() -> Camera:
    return sample_camera((60, 90), 4.5, np.random.default_rng(0))


def test_ray_through_a_pixel_hits_the_points_that_project_to_it(camera: Camera) -> None:
    pixels = np.array([0, 89, 30 * 90 + 45])
    x, y = camera.project(5 * camera.rays(pixels).T).T
    assert np.allclose(y * 90 + x, pixels, atol=1e-3)


def test_camera_looks_at_the_turntable(camera: Camera) -> None:
    pixel = camera.project(camera.to_camera(np.array([[0, 0, 0.8]])))[0]
    assert np.allclose(pixel, [44.5, 29.5], atol=5)


def test_cropped_and_supersampled_cameras_have_the_same_view(camera: Camera) -> None:
    points = np.array([[0, 0, 7], [1, -0.5, 6], [-1, 0.5, 8]])
    pixels = camera.project(points)
    assert np.allclose(camera.cropped(10, 20, (30, 30)).project(points), pixels - [20, 10])
    assert np.allclose(camera.supersampled(2).project(points), (pixels + 0.5) * 2 - 0.5)


def test_car_rotates_from_its_front_over_its_left_side() -> None:
    forward = [turntable_rotation(angle, 16) @ [1, 0, 0] for angle in (1, 5)]
    assert np.allclose(forward, [[0, -1, 0], [-1, 0, 0]])  # toward the camera, then to the image's left
