"""The studio's camera: where it stands and how metres become pixels."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the studio: x to the right, y away from the camera, z up, in metres.

    The car turns about the studio's origin. `position` (3,) metres; `axes` (3, 3) rows are the photo's
    right, down and forward in the studio; `focal` pixels; `centre` (x, y) pixels; `size` (height, width).
    Whole pixel coordinates are the middles of pixels.
    """

    position: np.ndarray
    axes: np.ndarray
    focal: float
    centre: tuple[float, float]
    size: tuple[int, int]

    def see(self, points: np.ndarray) -> np.ndarray:
        """Studio points (N, 3) as right, down and forward of the camera (N, 3)."""
        return rotate(self.axes, (points - self.position).T).T

    def project(self, seen: np.ndarray) -> np.ndarray:
        """Points as the camera sees them (..., 3) to pixels (..., 2)."""
        return seen[..., :2] / seen[..., 2:] * self.focal + np.asarray(self.centre)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Directions (3, N) float32 through pixels (N,), counted row by row; forward is 1."""
        rows, columns = np.divmod(pixels.astype(np.int32), np.int32(self.size[1]))
        rays = np.ones((3, len(pixels)), dtype=np.float32)
        rays[0] = (columns - np.float32(self.centre[0])) / np.float32(self.focal)
        rays[1] = (rows - np.float32(self.centre[1])) / np.float32(self.focal)
        return rays

    def to_studio(self, directions: np.ndarray) -> np.ndarray:
        """Directions (3, N) as the camera sees them, in the studio's axes (3, N)."""
        return rotate(self.axes.T.astype(np.float32), directions)

    def finer(self, times: int) -> "Camera":
        """The same view with `times` as many pixels each way."""
        centre = tuple((at + 0.5) * times - 0.5 for at in self.centre)
        height, width = self.size
        return replace(self, focal=self.focal * times, centre=centre, size=(height * times, width * times))

    def part(self, top: int, left: int, size: tuple[int, int]) -> "Camera":
        """The same view, cut down to `size` (height, width) pixels from row `top` and column `left`."""
        return replace(self, centre=(self.centre[0] - left, self.centre[1] - top), size=size)


def rotate(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """`matrix` (3, 3) times vectors (3, N).

    Unlike `@`, einsum sums in one order however many threads there are: same seed, same bytes.
    """
    return np.einsum("ij,jn->in", matrix, vectors)


def set_up_camera(size: tuple[int, int], length: float, rng: np.random.Generator) -> Camera:
    """A camera at eye height, looking slightly down on a turntable with a car `length` metres long."""
    position = np.array([rng.uniform(-0.15, 0.15), -rng.uniform(6.8, 7.6), rng.uniform(1.5, 2.0)])
    aim = np.array([rng.uniform(-0.2, 0.2), 0.0, rng.uniform(0.7, 0.9)])
    forward = (aim - position) / np.linalg.norm(aim - position)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])
    height, width = size
    # A photo narrower than 3:2 must still hold the car's whole length.
    widest = 0.86 * (-position[1] - 1) / length
    focal = min(rng.uniform(1.12, 1.24), widest) * min(width, height * 1.5)
    return Camera(position, axes, focal, ((width - 1) / 2, (height - 1) / 2), size)


def turn_of(angle: int, angles: int) -> np.ndarray:
    """The rotation (3, 3) from the car to the studio at `angle` 1..`angles`: 1 shows its face.

    From there the turntable goes round so that its left side comes into view.
    """
    turned = 2 * np.pi * (angle - 1) / angles
    sine, cosine = np.sin(turned), np.cos(turned)
    return np.array([[-sine, cosine, 0], [-cosine, -sine, 0], [0, 0, 1]])
