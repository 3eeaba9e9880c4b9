"""What a car does to the floor under it: a soft shadow and a faded reflection, neither of them car."""

import cv2
import numpy as np

from carvana.turntable.camera import Camera, rotate
from carvana.turntable.dimensions import CarDimensions
from carvana.turntable.mesh import superellipse
from carvana.turntable.rasterizer import Pose

_REACH = 4.5  # metres from the car's middle to the shadow sheet's edge
_SCALE = 40.0  # the shadow sheet's pixels a metre
_FRACTION = 4


def shadow_sheet(dimensions: CarDimensions, strength: float) -> np.ndarray:
    """The floor's light round a car, seen from above, front to the right: (S, S) float32, 1 is unshaded."""
    side = round(2 * _REACH * _SCALE)
    under, tyres = np.zeros((2, side, side), dtype=np.float32)
    plan = superellipse(80, 4.5, dimensions.length / dimensions.width) * [
        dimensions.length / 2 - 0.06,
        dimensions.width / 2 - 0.05,
    ]
    cv2.fillPoly(under, [_on_sheet(plan)], 1.0, cv2.LINE_8, _FRACTION)
    patch = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [0.16, 0.12]
    for axle in dimensions.axles:
        for y in (-1, 1):
            at = [axle, y * (dimensions.width / 2 - 0.14)]
            cv2.fillPoly(tyres, [_on_sheet(patch + at)], 1.0, cv2.LINE_8, _FRACTION)
    tight = cv2.GaussianBlur(under, (0, 0), 0.13 * _SCALE)
    wide = cv2.GaussianBlur(under, (0, 0), 0.5 * _SCALE)
    tyres = cv2.GaussianBlur(tyres, (0, 0), 0.05 * _SCALE)
    light = (1 - strength * 0.8 * tight) * (1 - strength * 0.45 * wide) * (1 - 0.5 * tyres)
    return light.astype(np.float32)


def cast_shadow(sheet: np.ndarray, camera: Camera, turn: np.ndarray) -> np.ndarray:
    """The floor's light (height, width) float32 in the photo, for the car turned by `turn` (3, 3)."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64) * _REACH
    floor = rotate(turn, np.concatenate([square, np.zeros((4, 1))], axis=1).T).T
    target = camera.project(camera.see(floor)).astype(np.float32)
    source = ((square + _REACH) * _SCALE - 0.5).astype(np.float32)
    warp = cv2.getPerspectiveTransform(source, target)
    return cv2.warpPerspective(
        sheet,
        warp,
        camera.size[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=1.0,
    )


def mirror_image(upside_down: Pose, colours: np.ndarray) -> np.ndarray:
    """The car mirrored in the floor: (height, width, 4) float32, its colours times their strength, and that.

    `upside_down` is the car's mesh with heights negated; `colours` (F, 3) belong to its faces. The
    reflection fades over the first metre.
    """
    height, width = upside_down.camera.size
    image = np.zeros((height, width, 4), dtype=np.float32)
    mesh = upside_down.mesh
    strength = np.clip(1 + mesh.vertices[mesh.faces, 2].mean(axis=1) / 0.9, 0, 1)
    # Negating heights turns every face inside out.
    faces = np.flatnonzero(upside_down.back & (strength > 0))
    faces = faces[np.argsort(-upside_down.depth[faces], kind="stable")]
    paint = np.concatenate([colours * strength[:, None], strength[:, None]], axis=1)[faces].tolist()
    for corners, value in zip(upside_down.pixels[faces], paint, strict=True):
        cv2.fillConvexPoly(image, corners, value, cv2.LINE_8, _FRACTION)
    return cv2.GaussianBlur(image, (0, 0), max(0.5, width / 300))


def _on_sheet(points: np.ndarray) -> np.ndarray:
    return np.round(((points + _REACH) * _SCALE - 0.5) * 2**_FRACTION).astype(np.int32)
