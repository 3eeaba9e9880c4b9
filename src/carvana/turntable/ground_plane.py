"""Effects of a car on the floor, which are not part of its mask: a soft shadow and a faded reflection."""

import cv2
import numpy as np

from carvana.turntable.camera import Camera, transform
from carvana.turntable.dimensions import CarDimensions
from carvana.turntable.mesh import superellipse
from carvana.turntable.polygons import SUBPIXEL_BITS, fill_polygon
from carvana.turntable.rasterizer import ProjectedMesh

_EXTENT = 4.5  # metres from the shadow map's centre to its edges
_PIXELS_PER_METRE = 40.0  # of the shadow map
_FADE_HEIGHT = 0.9  # metres above the floor at which the reflection has faded out
_SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)


def bake_shadow_map(dimensions: CarDimensions, strength: float) -> np.ndarray:
    """Return the floor's light around a car in plan view, with the car's front to the right.

    Args:
        dimensions: of the car.
        strength: of the shadow, 0..1.

    Returns:
        (S, S) float32 in 0..1; 1 is unshadowed.
    """
    size = round(2 * _EXTENT * _PIXELS_PER_METRE)
    body, tyres = np.zeros((2, size, size), dtype=np.float32)
    half_length, half_width = dimensions.length / 2, dimensions.width / 2
    plan = superellipse(80, 4.5, dimensions.length / dimensions.width)
    fill_polygon(body, _to_shadow_map(plan * [half_length - 0.06, half_width - 0.05]), 1.0)
    for axle in dimensions.axles:
        for side in (-1, 1):
            tyre = _SQUARE * [0.16, 0.12] + [axle, side * (half_width - 0.14)]
            fill_polygon(tyres, _to_shadow_map(tyre), 1.0)
    umbra, penumbra, contact = (
        cv2.GaussianBlur(image, (0, 0), blur * _PIXELS_PER_METRE)
        for image, blur in ((body, 0.13), (body, 0.5), (tyres, 0.05))
    )
    light = (1 - strength * 0.8 * umbra) * (1 - strength * 0.45 * penumbra) * (1 - 0.5 * contact)
    return light.astype(np.float32)


def project_shadow_map(shadow_map: np.ndarray, camera: Camera, rotation: np.ndarray) -> np.ndarray:
    """Project a shadow map into the image.

    Args:
        shadow_map: as `bake_shadow_map` returns it.
        camera: the image's camera.
        rotation: (3, 3) from car to world coordinates.

    Returns:
        The floor's light (height, width) float32 in 0..1.
    """
    corners = _SQUARE * _EXTENT
    world = transform(rotation, np.concatenate([corners, np.zeros((4, 1))], axis=1).T).T
    target = camera.project(camera.to_camera(world)).astype(np.float32)
    homography = cv2.getPerspectiveTransform(_to_shadow_map(corners).astype(np.float32), target)
    return cv2.warpPerspective(
        shadow_map,
        homography,
        camera.size[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=1.0,
    )


def render_reflection(mirrored: ProjectedMesh, face_colours: np.ndarray) -> np.ndarray:
    """Render the reflection of a car in the floor, which fades out with the car's height.

    Args:
        mirrored: the car's mesh with heights negated.
        face_colours: (F, 3) red, green, blue of its faces in 0..1.

    Returns:
        (height, width, 4) float32: red, green, blue, premultiplied with alpha, and alpha.
    """
    height, width = mirrored.camera.size
    image = np.zeros((height, width, 4), dtype=np.float32)
    z = mirrored.mesh.vertices[mirrored.mesh.faces, 2].mean(axis=1)
    alpha = np.clip(1 + z / _FADE_HEIGHT, 0, 1)[:, None]
    rgba = np.concatenate([face_colours * alpha, alpha], axis=1)
    # Negated heights turn every face inside out.
    faces = np.flatnonzero(mirrored.back_facing & (alpha[:, 0] > 0))
    faces = faces[np.argsort(-mirrored.mean_depth[faces], kind="stable")]
    for triangle, colour in zip(mirrored.pixels[faces], rgba[faces].tolist(), strict=True):
        cv2.fillConvexPoly(image, triangle, colour, cv2.LINE_8, SUBPIXEL_BITS)
    return cv2.GaussianBlur(image, (0, 0), max(0.5, width / 300))


def _to_shadow_map(points: np.ndarray) -> np.ndarray:
    """Convert points (N, 2) on the floor, in car coordinates, to pixels of the shadow map."""
    return (points + _EXTENT) * _PIXELS_PER_METRE - 0.5
