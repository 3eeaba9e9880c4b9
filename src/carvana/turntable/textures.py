"""Material textures: flat images of material ids that are projected onto the sides of a car."""

from collections.abc import Sequence
from enum import IntEnum

import cv2
import numpy as np

from carvana.turntable.materials import Material
from carvana.turntable.polygons import SUBPIXEL_BITS, fill_polygon, to_fixed_point

U_MIN, U_MAX, V_MIN, V_MAX = -3.0, 3.0, -1.1, 2.2
"""Extent of every texture in metres."""

Point = tuple[float, float]


class TextureId(IntEnum):
    """Index of a texture in a car's texture array."""

    SIDE = 0
    FRONT = 1
    REAR = 2
    DECK = 3
    """Bonnet and boot, from above."""
    ROOF = 4
    WHEEL = 5


PROJECTION_AXES = np.array([[0, 2], [1, 2], [1, 2], [0, 1], [0, 1], [0, 2]])
"""(textures, 2): the car axes (0, 1, 2 for x, y, z) that are a texture's u and v."""


class TextureCanvas:
    """A texture to paint on, in metres: u to the right, v up.

    `material_ids` (height, width) uint8 holds the texture; its first row is the lowest v.
    """

    def __init__(self, pixels_per_metre: float, background: Material) -> None:
        """Create a texture that is filled with `background`."""
        self.pixels_per_metre = pixels_per_metre
        size = round((V_MAX - V_MIN) * pixels_per_metre), round((U_MAX - U_MIN) * pixels_per_metre)
        self.material_ids = np.full(size, int(background), dtype=np.uint8)

    def polygon(self, corners: Sequence[Point], material: Material, *, mirrored: bool = False) -> None:
        """Fill a polygon, and its mirror image at u = 0 if `mirrored`."""
        fill_polygon(self.material_ids, self._to_pixels(corners), int(material))
        if mirrored:
            self.polygon(_mirror(corners), material)

    def rectangle(self, left: float, right: float, bottom: float, top: float, material: Material) -> None:
        """Fill an axis-aligned rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], material)

    def ellipse(self, centre: Point, radii: Point, material: Material, *, mirrored: bool = False) -> None:
        """Fill an axis-aligned ellipse, and its mirror image at u = 0 if `mirrored`."""
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + centre
        fill_polygon(self.material_ids, self._to_pixels(outline), int(material))
        if mirrored:
            self.ellipse((-centre[0], centre[1]), radii, material)

    def circle(self, centre: Point, radius: float, material: Material, *, mirrored: bool = False) -> None:
        """Fill a circle, and its mirror image at u = 0 if `mirrored`."""
        self.ellipse(centre, (radius, radius), material, mirrored=mirrored)

    def line(
        self, points: Sequence[Point], material: Material, width: float = 0.012, *, mirrored: bool = False
    ) -> None:
        """Draw a polyline `width` metres wide but at least a pixel, and its mirror image if `mirrored`."""
        thickness = max(1, round(width * self.pixels_per_metre))
        pixels = to_fixed_point(self._to_pixels(points))
        cv2.polylines(self.material_ids, [pixels], False, int(material), thickness, cv2.LINE_8, SUBPIXEL_BITS)
        if mirrored:
            self.line(_mirror(points), material, width)

    def _to_pixels(self, points: Sequence[Point] | np.ndarray) -> np.ndarray:
        return (np.asarray(points, dtype=np.float64) - (U_MIN, V_MIN)) * self.pixels_per_metre - 0.5


def sample_textures(
    textures: np.ndarray, texture_ids: np.ndarray, uv: np.ndarray, pixels_per_metre: float
) -> np.ndarray:
    """Return the material ids (N,) uint8 at texture coordinates, by nearest-neighbour sampling.

    Args:
        textures: (textures, height, width) uint8 material ids.
        texture_ids: (N,) the texture of each sample.
        uv: (2, N) texture coordinates in metres, clamped to the texture.
        pixels_per_metre: the resolution of `textures`.
    """
    column = np.clip((uv[0] - U_MIN) * pixels_per_metre, 0, textures.shape[2] - 1).astype(np.int32)
    row = np.clip((uv[1] - V_MIN) * pixels_per_metre, 0, textures.shape[1] - 1).astype(np.int32)
    return textures[texture_ids, row, column]


def _mirror(points: Sequence[Point]) -> list[Point]:
    return [(-u, v) for u, v in points]
