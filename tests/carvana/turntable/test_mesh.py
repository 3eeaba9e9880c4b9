"""Meshes of lofted rings."""

import numpy as np

from carvana.turntable.materials import Material
from carvana.turntable.mesh import interpolate, merge, superellipsoid

CENTRE = (1.0, 2.0, 3.0)


def test_superellipsoid_has_its_size_and_outward_faces_and_normals() -> None:
    mesh = superellipsoid(CENTRE, (0.5, 0.4, 0.3), Material.PAINT)
    assert np.allclose(np.abs(mesh.vertices - CENTRE).max(axis=0), (0.5, 0.4, 0.3), atol=0.02)
    assert ((mesh.vertices - CENTRE) * mesh.normals).sum(axis=1).min() > 0
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert (np.cross(b - a, c - a) * (a - CENTRE)).sum(axis=1).min() > -1e-6


def test_merged_meshes_keep_their_triangles_and_materials() -> None:
    paint = superellipsoid(CENTRE, (1, 1, 1), Material.PAINT)
    trim = superellipsoid((0, 0, 0), (2, 1, 1), Material.TRIM)
    merged = merge([paint, trim])
    triangles = [mesh.vertices[mesh.faces] for mesh in (paint, trim)]
    assert (merged.vertices[merged.faces] == np.concatenate(triangles)).all()
    assert merged.material_ids.tolist() == [Material.PAINT] * len(paint.faces) + [Material.TRIM] * len(
        trim.faces
    )


def test_interpolation_weighs_the_corners_of_a_face() -> None:
    values = np.array([[[0.0, 10.0], [1.0, 20.0], [2.0, 40.0]]])  # one value, three corners, two faces
    barycentric = np.array([[1.0, 0.5], [0.0, 0.25], [0.0, 0.25]])
    assert interpolate(barycentric, values, np.array([0, 1])).tolist() == [[0, 20]]
