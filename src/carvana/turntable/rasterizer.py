"""Rasterization: projection of a mesh into the image and visibility by z-buffer."""

from functools import cached_property

import cv2
import numpy as np

from carvana.turntable.camera import Camera, transform
from carvana.turntable.mesh import Mesh
from carvana.turntable.polygons import SUBPIXEL_BITS, to_fixed_point

_MIN_AREA = 0.02  # square pixels; smaller faces are treated as edge-on and are culled


class ProjectedMesh:
    """A mesh in front of a camera.

    Attributes:
        corners: (F, corners, 3) the faces' corners in camera coordinates.
        pixels: (F, corners, 2) int32 the corners' pixels, in OpenCV's fixed-point coordinates.
        front_facing: (F,) bool, the faces whose outside is visible.
        back_facing: (F,) bool, the faces whose inside is visible.
        mean_depth: (F,) metres in front of the camera.
    """

    def __init__(self, mesh: Mesh, camera: Camera, rotation: np.ndarray) -> None:
        """Project `mesh`, rotated into the world by `rotation` (3, 3), onto the image of `camera`."""
        self.mesh, self.camera, self._rotation = mesh, camera, rotation
        vertices = camera.to_camera(transform(rotation, mesh.vertices.T).T)
        self.corners = vertices[mesh.faces]
        pixels = camera.project(vertices)[mesh.faces]
        edges = pixels[:, 1:] - pixels[:, :1]
        signed_area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
        self.front_facing, self.back_facing = signed_area < -_MIN_AREA, signed_area > _MIN_AREA
        self.pixels = to_fixed_point(pixels)
        self.mean_depth = self.corners[:, :, 2].mean(axis=1)

    @cached_property
    def normals(self) -> np.ndarray:
        """Normals (3, corners, F) float32 at the faces' corners, in world coordinates."""
        return _by_face(transform(self._rotation, self.mesh.normals.T).T[self.mesh.faces])

    @cached_property
    def _inverse_corners(self) -> np.ndarray:
        """Inverses of the matrices of each face's corners: (3, corners, F) float32.

        They turn a ray into its barycentric coordinates divided by the depth. The inverse is written with
        cross products: https://en.wikipedia.org/wiki/Invertible_matrix#Inversion_of_3_%C3%97_3_matrices
        """
        a, b, c = self.corners.transpose(1, 0, 2)
        adjugate = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
        determinant = np.einsum("ni,ni->n", adjugate[:, 0], a)
        visible = self.front_facing | self.back_facing
        return _by_face(adjugate / np.where(visible, determinant, np.inf)[:, None, None])

    @cached_property
    def _max_inverse_depth(self) -> np.ndarray:
        """Inverse depth (F,) float32 of the faces' nearest corners."""
        return (1 / self.corners[:, :, 2].min(axis=1)).astype(np.float32)

    def intersect(self, faces: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Intersect rays with faces.

        Args:
            faces: (N,) the face of each ray.
            rays: (3, N) directions in camera coordinates, with forward 1.

        Returns:
            The intersections' barycentric coordinates (3, N) and inverse depths (N,) in 1/metres.
        """
        x, y, z = (np.take(component, faces, axis=1) for component in self._inverse_corners)
        barycentric = x * rays[0] + y * rays[1] + z * rays[2]
        # Centres of pixels along a face's edges lie slightly outside of the face.
        np.maximum(barycentric, np.float32(1e-6), out=barycentric)
        inverse_depth = barycentric[0] + barycentric[1] + barycentric[2]
        barycentric /= inverse_depth
        # Outside of faces that are nearly edge-on the inverse depth is unbounded.
        return barycentric, np.minimum(inverse_depth, self._max_inverse_depth[faces])


class ZBuffer:
    """The nearest face at each pixel: `faces` (pixels,) int32, -1 for none."""

    def __init__(self, projected: ProjectedMesh) -> None:
        """Create an empty buffer for the image that `projected` was projected onto."""
        self.projected = projected
        self.faces = np.full(projected.camera.size[0] * projected.camera.size[1], -1, dtype=np.int32)

    def rasterize(self, faces: np.ndarray) -> None:
        """Rasterize `faces` (indices) of one part of the mesh.

        Faces of one part are sorted by depth (painter's algorithm); parts are compared at each pixel.
        """
        if not len(faces):
            return
        camera = self.projected.camera
        faces = faces[np.argsort(-self.projected.mean_depth[faces], kind="stable")]
        corners = self.projected.pixels[faces]
        left, top = np.maximum((corners.min(axis=(0, 1)) >> SUBPIXEL_BITS) - 1, 0)
        right, bottom = np.minimum((corners.max(axis=(0, 1)) >> SUBPIXEL_BITS) + 2, camera.size[::-1])
        if right <= left or bottom <= top:
            return
        drawn = np.full((bottom - top, right - left), -1, dtype=np.int32)
        shifted = corners - np.array([left, top], dtype=np.int32) * 2**SUBPIXEL_BITS
        for triangle, face in zip(shifted, faces.tolist(), strict=True):
            cv2.fillConvexPoly(drawn, triangle, face, cv2.LINE_8, SUBPIXEL_BITS)
        stored = self.faces.reshape(camera.size)[top:bottom, left:right]
        rows, columns = np.nonzero((drawn >= 0) & (stored >= 0))
        rays = camera.rays((rows + top) * camera.size[1] + columns + left)
        _, drawn_inverse_depth = self.projected.intersect(drawn[rows, columns], rays)
        _, stored_inverse_depth = self.projected.intersect(stored[rows, columns], rays)
        hidden = drawn_inverse_depth < stored_inverse_depth
        drawn[rows[hidden], columns[hidden]] = -1
        np.copyto(stored, drawn, where=drawn >= 0)


def _by_face(values: np.ndarray) -> np.ndarray:
    """Rearrange values at corners from (F, corners, values) to (values, corners, F) float32."""
    return np.ascontiguousarray(values.transpose(2, 1, 0), dtype=np.float32)
