"""Pinhole camera and turntable: transformation from the world to pixels."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    World coordinates are x to the right, y away from the camera, z up, in metres; the turntable's centre is
    the origin. Camera coordinates are right, down and forward. Pixel coordinates are those of pixel centres.

    Attributes:
        position: (3,) in the world.
        axes: (3, 3) its rows are the camera's right, down and forward in the world.
        focal_length: in pixels.
        principal_point: (x, y) in pixels.
        size: (height, width) of the image in pixels.
    """

    position: np.ndarray
    axes: np.ndarray
    focal_length: float
    principal_point: tuple[float, float]
    size: tuple[int, int]

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Transform points (N, 3) from world to camera coordinates."""
        return transform(self.axes, (points - self.position).T).T

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points (..., 3) in camera coordinates to pixels (..., 2)."""
        return points[..., :2] / points[..., 2:] * self.focal_length + np.asarray(self.principal_point)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Return the directions (3, N) float32 in camera coordinates, with forward 1, of rays through pixels.

        `pixels` (N,) are indices into the flattened image.
        """
        rows, columns = np.divmod(pixels.astype(np.int32), np.int32(self.size[1]))
        rays = np.ones((3, len(pixels)), dtype=np.float32)
        rays[0] = (columns - np.float32(self.principal_point[0])) / np.float32(self.focal_length)
        rays[1] = (rows - np.float32(self.principal_point[1])) / np.float32(self.focal_length)
        return rays

    def directions_to_world(self, directions: np.ndarray) -> np.ndarray:
        """Rotate directions (3, N) from camera to world coordinates."""
        return transform(self.axes.T.astype(np.float32), directions)

    def supersampled(self, factor: int) -> "Camera":
        """Return a camera with the same view and `factor` times the pixels in each direction."""
        height, width = self.size
        centre_x, centre_y = ((centre + 0.5) * factor - 0.5 for centre in self.principal_point)
        return replace(
            self,
            focal_length=self.focal_length * factor,
            principal_point=(centre_x, centre_y),
            size=(height * factor, width * factor),
        )

    def cropped(self, top: int, left: int, size: tuple[int, int]) -> "Camera":
        """Return a camera of the image's part of `size` (height, width) from row `top` and column `left`."""
        x, y = self.principal_point
        return replace(self, principal_point=(x - left, y - top), size=size)


def transform(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Multiply `matrix` (3, 3) with vectors (3, N).

    Unlike `@`, einsum sums in one order for any number of threads: the same seed gives the same bytes.
    """
    return np.einsum("ij,jn->in", matrix, vectors)


def sample_camera(size: tuple[int, int], car_length: float, rng: np.random.Generator) -> Camera:
    """Sample a camera at eye level, tilted slightly down toward the turntable.

    Args:
        size: (height, width) of the image in pixels.
        car_length: length in metres of the car that has to fit into the image from all sides.
        rng: source of the camera's position and focal length.
    """
    position = np.array([rng.uniform(-0.15, 0.15), -rng.uniform(6.8, 7.6), rng.uniform(1.5, 2.0)])
    target = np.array([rng.uniform(-0.2, 0.2), 0.0, rng.uniform(0.7, 0.9)])
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])
    height, width = size
    # Focal lengths in shares of the image's width, or of a 3:2 image's width where the image is wider than that.
    max_focal_length = 0.86 * (-position[1] - 1) / car_length
    focal_length = min(rng.uniform(1.12, 1.24), max_focal_length) * min(width, height * 1.5)
    return Camera(position, axes, focal_length, ((width - 1) / 2, (height - 1) / 2), size)


def turntable_rotation(angle: int, n_angles: int) -> np.ndarray:
    """Return the rotation (3, 3) from car to world coordinates at `angle` 1..`n_angles`.

    At angle 1 the car faces the camera; then the turntable rotates so that its left side comes into view.
    """
    radians = 2 * np.pi * (angle - 1) / n_angles
    sine, cosine = np.sin(radians), np.cos(radians)
    return np.array([[-sine, cosine, 0], [-cosine, -sine, 0], [0, 0, 1]])
