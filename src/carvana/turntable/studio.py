"""The studio: a floor that curves into a wall, a turntable in it, uneven light, lettering on the wall."""

from dataclasses import dataclass

import cv2
import numpy as np

from carvana.turntable.camera import Camera
from carvana.turntable.shading import Lights

_WORDS = ("TURNTABLE", "CAROUSEL", "MOTORS", "AUTOHALL")


@dataclass(frozen=True)
class Studio:
    """One studio; tones are brightness in 0..1, measures metres."""

    lights: Lights
    tint: np.ndarray
    """(3,) the cast of its light, about 1."""
    wall_at: float
    curve: float
    """Over how much height the floor's tone goes over into the wall's."""
    turntable: float
    word: str
    letters: float
    vignette: float
    shadow: float
    gloss: float
    """How strongly the floor mirrors the car."""


def draw_studio(rng: np.random.Generator) -> Studio:
    """A studio with tones and lights of its own, between the tones of silver and of white paint."""
    wall = rng.uniform(0.8, 0.96)
    side = rng.uniform(-0.5, 0.5)
    key = np.array([side, -0.55, 0.85])
    count = int(rng.integers(2, 5))
    panels = np.stack(
        [np.full(count, rng.uniform(-0.3, 0.3)), np.linspace(-2.2, 2.2, count) + rng.normal(0, 0.15, count),
         rng.uniform(1.2, 2.5, count), rng.uniform(0.18, 0.4, count)], axis=1,
    )  # fmt: skip
    return Studio(
        lights=Lights(
            floor=rng.uniform(0.52, 0.76),
            wall=wall,
            ambient=rng.uniform(0.5, 0.65),
            key=(key / np.linalg.norm(key)).astype(np.float32),
            panels=panels,
        ),
        tint=(1 + rng.normal(0, 0.012, 3) * [1, 0.3, 1]).astype(np.float32),
        wall_at=rng.uniform(3.6, 5.0),
        curve=rng.uniform(0.05, 0.7),
        turntable=rng.uniform(2.75, 3.2),
        word=_WORDS[int(rng.integers(len(_WORDS)))] if rng.random() < 0.8 else "",
        letters=rng.uniform(0.25, 0.55),
        vignette=rng.uniform(0.06, 0.22),
        shadow=rng.uniform(0.7, 0.92),
        gloss=rng.uniform(0.05, 0.22),
    )


def draw_backdrop(studio: Studio, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """The empty studio, (height, width, 3) float32 in 0..1, without the vignette."""
    height, width = camera.size
    rays = camera.to_studio(camera.rays(np.arange(height * width))).reshape(3, height, width)
    # Where each pixel's ray meets the wall: how far up it, and to which side.
    reach = (studio.wall_at - camera.position[1]) / np.maximum(rays[1], 1e-3)
    up, across = camera.position[2] + reach * rays[2], camera.position[0] + reach * rays[0]
    fall = -camera.position[2] / np.minimum(rays[2], -1e-3)
    fall = np.minimum(fall, reach)
    floor_x, floor_y = camera.position[0] + fall * rays[0], camera.position[1] + fall * rays[1]
    floor = _floor(studio, camera, floor_x, floor_y, fall, rng)
    wall = _wall(studio, across, up, rng)
    share = np.clip((up + 0.1) / studio.curve, 0, 1)
    share = share * share * (3 - 2 * share)
    tone = floor + share * (wall - floor)
    tone *= 1 + 0.018 * _clouds(camera.size, 4, rng) + 0.006 * _clouds(camera.size, 24, rng)
    return (tone[..., None] * studio.tint).astype(np.float32)


def _floor(
    studio: Studio,
    camera: Camera,
    x: np.ndarray,
    y: np.ndarray,
    distance: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    radius = np.hypot(x, y)
    tone = studio.lights.floor * (1.04 - 0.012 * (radius - 1.5) ** 2)
    # A seam is never thinner than what a pixel covers on the floor, or it would be broken up.
    pixel = distance**2 / (camera.focal * camera.position[2]) * 0.6 + 0.008
    seam = np.exp(-(((radius - studio.turntable) / pixel) ** 2)) * np.minimum(1, 0.012 / pixel * 1.5)
    tone *= 1 + rng.uniform(-0.1, 0.06) * (radius < studio.turntable)
    tone *= 1 - 0.5 * seam
    for _ in range(int(rng.integers(2, 6))):
        # Streaks: worn tracks and strips of light.
        turn, at = rng.uniform(0, np.pi), rng.uniform(-2.5, 2.5)
        wide, depth = rng.uniform(0.03, 0.3), rng.uniform(-0.09, 0.07)
        tone *= 1 + depth * np.exp(-(((x * np.cos(turn) + y * np.sin(turn) - at) / wide) ** 2))
    return tone


def _wall(studio: Studio, across: np.ndarray, up: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tone = studio.lights.wall * (1 + 0.03 * np.clip(up, 0, 3) - 0.006 * across**2)
    for _ in range(int(rng.integers(1, 4))):
        # Light panels thrown on the wall.
        x, z, wide, tall = (
            rng.uniform(-4, 4),
            rng.uniform(0.8, 3),
            rng.uniform(0.4, 1.6),
            rng.uniform(0.3, 0.9),
        )
        spot = np.square(np.square((across - x) / wide)) + np.square(np.square((up - z) / tall))
        tone += rng.uniform(-0.05, 0.12) * np.exp(-spot)
    if studio.word:
        tone *= 1 - (1 - studio.letters) * _lettering(studio.word, across, up, rng)
    return tone


def _lettering(word: str, across: np.ndarray, up: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far each pixel lies in a letter, 0..1: `word` on a board that is hung on the wall."""
    scale, wide, low = 4.0, rng.uniform(7, 9), rng.uniform(1.0, 1.35)
    (length, tall), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 12)
    board = np.zeros((tall + 40, length + 40), dtype=np.uint8)
    cv2.putText(board, word, (20, tall + 20), cv2.FONT_HERSHEY_DUPLEX, scale, 255, 12, cv2.LINE_AA)
    pixels = board.shape[1] / wide
    board = cv2.GaussianBlur(board.astype(np.float32) / 255, (0, 0), pixels * 0.012)
    column = (across + wide / 2) * pixels
    row = board.shape[0] - (up - low) * pixels
    return cv2.remap(board, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)


def _clouds(size: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Soft unevenness (height, width) about 0 with `cells` bumps across."""
    field = rng.normal(size=(max(2, cells * 2 // 3), cells)).astype(np.float32)
    return cv2.resize(field, size[::-1], interpolation=cv2.INTER_CUBIC)
