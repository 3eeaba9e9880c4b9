"""Triangle meshes: every part of a car is a surface lofted over a stack of closed rings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from carvana.turntable.materials import Material

NO_TEXTURE = -1


@dataclass(frozen=True)
class Mesh:
    """Triangles in a car's own coordinates: x forward, y to its left, z up, in metres.

    `vertices` and `normals` (V, 3) float32; `faces` (F, 3) int32, counter-clockwise from outside;
    `texture_ids` (F,) int8, the texture that gives a face's material, or NO_TEXTURE where `material_ids`
    (F,) uint8 gives it; `uv` (2, corners, F) float32, the corners' texture coordinates in metres.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    texture_ids: np.ndarray
    material_ids: np.ndarray
    uv: np.ndarray


def plain_mesh(rings: np.ndarray, material: Material) -> Mesh:
    """Loft `rings` (rings, points, 3) into a mesh of one material."""
    vertices, normals, faces = loft(rings)
    return Mesh(
        vertices,
        normals,
        faces,
        texture_ids=np.full(len(faces), NO_TEXTURE, dtype=np.int8),
        material_ids=np.full(len(faces), material, dtype=np.uint8),
        uv=np.zeros((2, 3, len(faces)), dtype=np.float32),
    )


def textured_mesh(
    rings: np.ndarray,
    quad_textures: np.ndarray,
    projection_axes: np.ndarray,
    origin: Sequence[float] | np.ndarray,
) -> Mesh:
    """Loft `rings` (rings, points, 3) into a mesh with planar texture projection.

    Args:
        rings: closed rings from one end of the surface to the other, in metres.
        quad_textures: (rings - 1, points) int, the texture of the quad above each point of a ring.
        projection_axes: (textures, 2) int, the two of x, y, z that are a texture's u and v.
        origin: (3,) the point of the car at texture coordinates (0, 0).
    """
    vertices, normals, faces = loft(rings)
    texture_ids = np.concatenate([quad_textures.ravel(), quad_textures.ravel()]).astype(np.int8)
    corners = vertices[faces] - np.asarray(origin, dtype=np.float32)
    uv = np.take_along_axis(corners, projection_axes[texture_ids][:, None, :], axis=2)
    return Mesh(
        vertices,
        normals,
        faces,
        texture_ids=texture_ids,
        material_ids=np.zeros(len(faces), dtype=np.uint8),
        uv=uv.transpose(2, 1, 0),
    )


def loft(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connect consecutive rings with quads, each of them split into two triangles.

    Args:
        rings: (rings, points, 3) closed rings in metres.

    Returns:
        Vertices (V, 3) float32, outward unit normals (V, 3) float32, and faces (F, 3) int32. The first
        triangles of all quads come before the second ones.
    """
    n_rings, n_points = rings.shape[:2]
    tangents = np.roll(rings, -1, axis=1) - np.roll(rings, 1, axis=1)
    normals = np.cross(tangents, np.gradient(rings, axis=0))
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    # Rings that collapse to a point or a line have no tangent; their normals point away from the centroid.
    outward = rings - rings.mean(axis=(0, 1))
    outward /= np.linalg.norm(outward, axis=2, keepdims=True) + 1e-9
    normals = np.where(length > 1e-7, normals / np.maximum(length, 1e-7), outward)
    lower_left = np.arange((n_rings - 1) * n_points).reshape(n_rings - 1, n_points)
    lower_right = np.roll(lower_left, -1, axis=1)
    upper_left, upper_right = lower_left + n_points, lower_right + n_points
    faces = np.concatenate(
        [
            np.stack([lower_left, lower_right, upper_right], axis=2).reshape(-1, 3),
            np.stack([lower_left, upper_right, upper_left], axis=2).reshape(-1, 3),
        ]
    )
    if (normals * outward).sum() < 0:
        normals, faces = -normals, faces[:, ::-1]
    return (
        rings.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        np.ascontiguousarray(faces, dtype=np.int32),
    )


def superellipse(n_points: int, exponent: float, aspect: float) -> np.ndarray:
    """Return points on a superellipse, a rounded rectangle in -1..1, counter-clockwise.

    See https://en.wikipedia.org/wiki/Superellipse: an `exponent` of 2 is an ellipse, larger ones are squarer.

    Args:
        n_points: number of points.
        exponent: the superellipse's exponent.
        aspect: factor by which the result will be stretched in x; the points are evenly spaced after that.

    Returns:
        (n_points, 2) coordinates.
    """
    angles = np.linspace(0, 2 * np.pi, 4001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    dense = np.sign(circle) * np.abs(circle) ** (2 / exponent)
    steps = np.linalg.norm(np.diff(dense * [aspect, 1], axis=0), axis=1)
    arc_length = np.concatenate([[0], np.cumsum(steps)])
    positions = np.arange(n_points) / n_points * arc_length[-1]
    return np.stack([np.interp(positions, arc_length, dense[:, axis]) for axis in range(2)], axis=1)


def superellipsoid(
    centre: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    material: Material,
    *,
    exponent: float = 3,
    n_points: int = 12,
) -> Mesh:
    """Create a superellipsoid, a rounded box, of one material.

    Args:
        centre: (3,) x, y, z in metres.
        radii: (3,) half sizes along x, y, z in metres.
        material: the material of every face.
        exponent: 2 gives an ellipsoid, larger ones a squarer box.
        n_points: number of points around the z axis.
    """
    plan = superellipse(n_points, exponent, radii[0] / radii[1])
    latitude = np.linspace(-np.pi / 2, np.pi / 2, 7)
    height = np.sign(latitude) * np.abs(np.sin(latitude)) ** (2 / exponent)
    width = np.abs(np.cos(latitude)) ** (2 / exponent)
    rings = np.empty((len(latitude), n_points, 3))
    rings[:, :, :2] = width[:, None, None] * plan * radii[:2]
    rings[:, :, 2] = height[:, None] * radii[2]
    return plain_mesh(rings + np.asarray(centre), material)


def shear(mesh: Mesh, slope: float, base: float) -> Mesh:
    """Move a mesh's vertices backward by `slope` metres for each metre of their height above `base`."""
    vertices = mesh.vertices.copy()
    vertices[:, 0] -= slope * (vertices[:, 2] - base)
    return replace(mesh, vertices=vertices)


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Merge meshes into one; the faces keep their order."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        faces=np.concatenate(
            [mesh.faces + np.int32(offset) for mesh, offset in zip(meshes, offsets, strict=True)]
        ),
        texture_ids=np.concatenate([mesh.texture_ids for mesh in meshes]),
        material_ids=np.concatenate([mesh.material_ids for mesh in meshes]),
        uv=np.ascontiguousarray(np.concatenate([mesh.uv for mesh in meshes], axis=2)),
    )


def interpolate(barycentric: np.ndarray, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Interpolate values at the corners of faces by barycentric coordinates.

    Args:
        barycentric: (3, N) weights of the corners.
        values: (values, corners, F) values at the corners of every face.
        faces: (N,) the face of each point.

    Returns:
        (values, N) interpolated values.
    """
    return np.stack([(np.take(value, faces, axis=1) * barycentric).sum(axis=0) for value in values])
