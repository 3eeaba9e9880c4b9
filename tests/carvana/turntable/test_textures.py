"""Painting and sampling of textures."""

import numpy as np

from carvana.turntable.materials import Material
from carvana.turntable.textures import TextureCanvas, sample_textures

U, V = [1.0, -1.0, 0.0], [0.5, 0.5, -0.5]


def materials_at(canvas: TextureCanvas) -> list[int]:
    textures, ids = canvas.material_ids[None], np.zeros(3, dtype=int)
    return sample_textures(textures, ids, np.array([U, V]), canvas.pixels_per_metre).tolist()


def test_samples_are_what_was_painted_there() -> None:
    canvas = TextureCanvas(60, Material.PAINT)
    canvas.rectangle(0.8, 1.2, 0.4, 0.6, Material.GLASS)
    canvas.line([(-0.5, -0.5), (0.5, -0.5)], Material.SEAM, 0.05)
    assert materials_at(canvas) == [Material.GLASS, Material.PAINT, Material.SEAM]


def test_mirrored_shapes_are_painted_on_both_sides() -> None:
    canvas = TextureCanvas(60, Material.PAINT)
    canvas.circle((1, 0.5), 0.1, Material.CHROME, mirrored=True)
    assert materials_at(canvas) == [Material.CHROME, Material.CHROME, Material.PAINT]
