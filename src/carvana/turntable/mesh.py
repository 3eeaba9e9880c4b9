"""Triangle meshes made of rings: every part of a car is a stack of closed rings, skinned over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from carvana.turntable.materials import Material

NO_SHEET = -1


@dataclass(frozen=True)
class Mesh:
    """Triangles in a car's own coordinates: x forward, y to its left, z up, in metres.

    `vertices` and `normals` (V, 3) float32; `faces` (F, 3) int32, counter-clockwise seen from outside;
    `sheet` (F,) int8, the sheet that says what a face is made of, or NO_SHEET where `material` (F,) uint8
    says it; `place` (2, corners, F) float32, where on its sheet (metres) each corner lies.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    sheet: np.ndarray
    material: np.ndarray
    place: np.ndarray


def plain(rings: np.ndarray, material: Material) -> Mesh:
    """Skin `rings` (rings, points, 3) with one material."""
    vertices, normals, faces = skin(rings)
    sheet = np.full(len(faces), NO_SHEET, dtype=np.int8)
    place = np.zeros((2, 3, len(faces)), dtype=np.float32)
    return Mesh(vertices, normals, faces, sheet, np.full(len(faces), material, dtype=np.uint8), place)


def sheeted(rings: np.ndarray, sheet: np.ndarray, axes: np.ndarray, origin: Sequence[float]) -> Mesh:
    """Skin `rings` (rings, points, 3) with sheets.

    `sheet` (rings - 1, points) int is the sheet of each quad; `axes` (sheets, 2) int tells which two of
    x, y, z run across a sheet and up it; `origin` (3,) is where in the car a sheet's zero lies.
    """
    vertices, normals, faces = skin(rings)
    sheets = np.concatenate([sheet.ravel(), sheet.ravel()]).astype(np.int8)
    corners = vertices[faces] - np.asarray(origin, dtype=np.float32)
    place = np.take_along_axis(corners, axes[sheets][:, None, :], axis=2)
    return Mesh(
        vertices, normals, faces, sheets, np.zeros(len(faces), dtype=np.uint8), place.transpose(2, 1, 0)
    )


def skin(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, outward normals and faces of `rings`; the quads' first triangles come first."""
    count, points = rings.shape[:2]
    around = np.roll(rings, -1, axis=1) - np.roll(rings, 1, axis=1)
    normals = np.cross(around, np.gradient(rings, axis=0))
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    # Rings that close to a point or a line have no tangent there: such a point looks away from the middle.
    away = rings - rings.mean(axis=(0, 1))
    away /= np.linalg.norm(away, axis=2, keepdims=True) + 1e-9
    normals = np.where(length > 1e-7, normals / np.maximum(length, 1e-7), away)
    here = np.arange(count * points).reshape(count, points)
    right, up = np.roll(here, -1, axis=1), here + points
    lower, upper = here[:-1], up[:-1]
    lower_right, upper_right = right[:-1], right[:-1] + points
    faces = np.concatenate(
        [
            np.stack([lower, lower_right, upper_right], axis=2).reshape(-1, 3),
            np.stack([lower, upper_right, upper], axis=2).reshape(-1, 3),
        ]
    )
    if (normals * away).sum() < 0:
        normals, faces = -normals, faces[:, ::-1]
    return (
        rings.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        np.ascontiguousarray(faces, dtype=np.int32),
    )


def outline(points: int, squareness: float, aspect: float) -> np.ndarray:
    """A rounded rectangle (points, 2) in -1..1, counter-clockwise, even when `aspect` times longer."""
    angle = np.linspace(0, 2 * np.pi, 4001)
    wave = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    dense = np.sign(wave) * np.abs(wave) ** (2 / squareness)
    steps = np.linalg.norm(np.diff(dense * [aspect, 1], axis=0), axis=1)
    walked = np.concatenate([[0], np.cumsum(steps)])
    stops = np.arange(points) / points * walked[-1]
    return np.stack([np.interp(stops, walked, dense[:, k]) for k in range(2)], axis=1)


def blob(
    centre: Sequence[float],
    half: Sequence[float],
    material: Material,
    *,
    squareness: float = 3,
    points: int = 12,
) -> Mesh:
    """A rounded box round `centre` with half sizes `half` (x, y, z); a `squareness` of 2 is an ellipsoid."""
    plan = outline(points, squareness, half[0] / half[1])
    tilt = np.linspace(-np.pi / 2, np.pi / 2, 7)
    height = np.sign(tilt) * np.abs(np.sin(tilt)) ** (2 / squareness)
    width = np.abs(np.cos(tilt)) ** (2 / squareness)
    rings = np.empty((len(tilt), points, 3))
    rings[:, :, :2] = width[:, None, None] * plan * half[:2]
    rings[:, :, 2] = height[:, None] * half[2]
    return plain(rings + np.asarray(centre), material)


def lean(mesh: Mesh, along: float, foot: float) -> Mesh:
    """Lean a mesh backward by `along` metres for each metre above height `foot`."""
    vertices = mesh.vertices.copy()
    vertices[:, 0] -= along * (vertices[:, 2] - foot)
    return Mesh(vertices, mesh.normals, mesh.faces, mesh.sheet, mesh.material, mesh.place)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many; faces keep their order."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = [mesh.faces + np.int32(start) for mesh, start in zip(meshes, starts, strict=True)]
    stacked = {
        name: np.concatenate([getattr(mesh, name) for mesh in meshes])
        for name in ("vertices", "normals", "sheet", "material")
    }
    place = np.ascontiguousarray(np.concatenate([mesh.place for mesh in meshes], axis=2))
    return Mesh(faces=np.concatenate(faces), place=place, **stacked)
