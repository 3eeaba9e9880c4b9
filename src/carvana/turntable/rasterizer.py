"""From triangles to pixels: which face each pixel sees, and where on it."""

from functools import cached_property

import cv2
import numpy as np

from carvana.turntable.camera import Camera, rotate
from carvana.turntable.mesh import Mesh

_FRACTION = 4  # OpenCV takes corners in 1/16 of a pixel
_SLIVER = 0.02  # square pixels; faces smaller than that are seen edge-on


class Pose:
    """A mesh as a camera sees it: pixels of its corners, which way its faces look, how far they are."""

    def __init__(self, mesh: Mesh, camera: Camera, turn: np.ndarray) -> None:
        """Place `mesh`, turned by `turn` (3, 3), before `camera`."""
        self.mesh, self.camera, self.turn = mesh, camera, turn
        seen = camera.see(rotate(turn, mesh.vertices.T).T)
        self.corners = seen[mesh.faces]
        pixels = camera.project(seen)[mesh.faces]
        edges = pixels[:, 1:] - pixels[:, :1]
        area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
        self.front, self.back = area < -_SLIVER, area > _SLIVER
        self.pixels = np.round(pixels * 2**_FRACTION).astype(np.int32)
        self.depth = self.corners[:, :, 2].mean(axis=1)

    @cached_property
    def normals(self) -> np.ndarray:
        """Normals (3, corners, F) float32 at the faces' corners, in the studio's axes."""
        return by_face(rotate(self.turn, self.mesh.normals.T).T[self.mesh.faces])

    @cached_property
    def solve(self) -> np.ndarray:
        """What turns a ray into its corners' weights (3, corners, F) float32, all divided by the distance.

        That is the inverse of each face's corners, written with cross products:
        https://en.wikipedia.org/wiki/Invertible_matrix#Inversion_of_3_%C3%97_3_matrices
        """
        a, b, c = self.corners.transpose(1, 0, 2)
        rows = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
        volume = np.einsum("ni,ni->n", rows[:, 0], a)
        usable = self.front | self.back
        return by_face(rows / np.where(usable, volume, np.inf)[:, None, None])

    @cached_property
    def nearest(self) -> np.ndarray:
        """1 / metres forward of the faces' nearest corners (F,) float32."""
        return (1 / self.corners[:, :, 2].min(axis=1)).astype(np.float32)

    def meet(self, faces: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where `rays` (3, N) meet `faces` (N,): the corners' weights (3, N), and 1 / metres forward (N,)."""
        x, y, z = (np.take(part, faces, axis=1) for part in self.solve)
        weights = x * rays[0] + y * rays[1] + z * rays[2]
        # Pixels on a face's rim are a little outside of it.
        np.maximum(weights, np.float32(1e-6), out=weights)
        near = weights[0] + weights[1] + weights[2]
        weights /= near
        # Outside of a face seen edge-on the distance would run away.
        return weights, np.minimum(near, self.nearest[faces])


def by_face(corners: np.ndarray) -> np.ndarray:
    """Values at corners (F, corners, values), laid out to be picked by face: (values, corners, F) float32."""
    return np.ascontiguousarray(corners.transpose(2, 1, 0), dtype=np.float32)


def blend(weights: np.ndarray, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """What `values` (values, corners, F) come to (values, N) at the `weights` (3, N) of `faces` (N,)."""
    return np.stack([(np.take(value, faces, axis=1) * weights).sum(axis=0) for value in values])


class Hits:
    """The nearest face at each pixel, counted row by row: `face` (pixels,) int32, -1 for none."""

    def __init__(self, pose: Pose) -> None:
        """Start with nothing hit."""
        self.pose, self.size = pose, pose.camera.size
        self.face = np.full(self.size[0] * self.size[1], -1, dtype=np.int32)

    def paint(self, faces: np.ndarray) -> None:
        """Add `faces` (indices) of one part.

        Within a part far faces are drawn first; between parts the distance at each pixel counts.
        """
        if not len(faces):
            return
        faces = faces[np.argsort(-self.pose.depth[faces], kind="stable")]
        corners = self.pose.pixels[faces]
        left, top = np.maximum((corners.min(axis=(0, 1)) >> _FRACTION) - 1, 0)
        right, bottom = np.minimum((corners.max(axis=(0, 1)) >> _FRACTION) + 2, self.size[::-1])
        if right <= left or bottom <= top:
            return
        drawn = np.full((bottom - top, right - left), -1, dtype=np.int32)
        shifted = corners - np.array([left, top], dtype=np.int32) * 2**_FRACTION
        for corner, face in zip(shifted, faces.tolist(), strict=True):
            cv2.fillConvexPoly(drawn, corner, face, cv2.LINE_8, _FRACTION)
        here = self.face.reshape(self.size)[top:bottom, left:right]
        rows, columns = np.nonzero((drawn >= 0) & (here >= 0))
        rays = self.pose.camera.rays((rows + top) * self.size[1] + columns + left)
        hidden = self.pose.meet(drawn[rows, columns], rays)[1] < self.pose.meet(here[rows, columns], rays)[1]
        drawn[rows[hidden], columns[hidden]] = -1
        np.copyto(here, drawn, where=drawn >= 0)
