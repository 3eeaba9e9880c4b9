"""Studio: a turntable on a floor that curves into a wall, uneven light, text on the wall."""

from dataclasses import dataclass

import cv2
import numpy as np

from carvana.turntable.camera import Camera
from carvana.turntable.shading import Lighting, smoothstep

_WALL_TEXTS = ("TURNTABLE", "CAROUSEL", "MOTORS", "AUTOHALL")


@dataclass(frozen=True)
class Studio:
    """A studio without a car; distances are in metres, strengths in 0..1."""

    lighting: Lighting
    tint: np.ndarray
    """(3,) float32 gain of red, green and blue, about 1."""
    wall_distance: float
    """From the turntable's centre."""
    cove_height: float
    """Height of the curved transition from floor to wall."""
    turntable_radius: float
    wall_text: str
    """May be empty."""
    text_brightness: float
    """Relative to the wall's."""
    vignette: float
    """Share of the light that is lost in the photo's corners."""
    shadow_strength: float
    floor_reflectance: float


def sample_studio(rng: np.random.Generator) -> Studio:
    """Sample a studio, with brightnesses in the range of silver and white paint."""
    wall_brightness = rng.uniform(0.8, 0.96)
    key = np.array([rng.uniform(-0.5, 0.5), -0.55, 0.85])
    n_lights = int(rng.integers(2, 5))
    ceiling_lights = np.stack(
        [
            np.full(n_lights, rng.uniform(-0.3, 0.3)),
            np.linspace(-2.2, 2.2, n_lights) + rng.normal(0, 0.15, n_lights),
            rng.uniform(1.2, 2.5, n_lights),
            rng.uniform(0.18, 0.4, n_lights),
        ],
        axis=1,
    )
    return Studio(
        lighting=Lighting(
            floor_brightness=rng.uniform(0.52, 0.76),
            wall_brightness=wall_brightness,
            ambient=rng.uniform(0.5, 0.65),
            key_direction=(key / np.linalg.norm(key)).astype(np.float32),
            ceiling_lights=ceiling_lights,
        ),
        tint=(1 + rng.normal(0, 0.012, 3) * [1, 0.3, 1]).astype(np.float32),
        wall_distance=rng.uniform(3.6, 5.0),
        cove_height=rng.uniform(0.05, 0.7),
        turntable_radius=rng.uniform(2.75, 3.2),
        wall_text=_WALL_TEXTS[int(rng.integers(len(_WALL_TEXTS)))] if rng.random() < 0.8 else "",
        text_brightness=rng.uniform(0.25, 0.55),
        vignette=rng.uniform(0.06, 0.22),
        shadow_strength=rng.uniform(0.7, 0.92),
        floor_reflectance=rng.uniform(0.05, 0.22),
    )


def render_background(studio: Studio, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Render the studio without car and vignette: (height, width, 3) float32 in about 0..1.

    `rng` is the source of stains, streaks, light spots and uneven brightness.
    """
    height, width = camera.size
    directions = camera.directions_to_world(camera.rays(np.arange(height * width)))
    directions = directions.reshape(3, height, width)
    # Distances along each pixel's ray to wall and floor, and the points there.
    to_wall = (studio.wall_distance - camera.position[1]) / np.maximum(directions[1], 1e-3)
    wall_x, wall_z = (camera.position[axis] + to_wall * directions[axis] for axis in (0, 2))
    to_floor = np.minimum(-camera.position[2] / np.minimum(directions[2], -1e-3), to_wall)
    floor_x, floor_y = (camera.position[axis] + to_floor * directions[axis] for axis in (0, 1))
    floor = _floor_brightness(studio, camera, floor_x, floor_y, to_floor, rng)
    wall = _wall_brightness(studio, wall_x, wall_z, rng)
    brightness = floor + smoothstep((wall_z + 0.1) / studio.cove_height) * (wall - floor)
    brightness *= 1 + 0.018 * _smooth_noise(camera.size, 4, rng) + 0.006 * _smooth_noise(camera.size, 24, rng)
    return (brightness[..., None] * studio.tint).astype(np.float32)


def _floor_brightness(
    studio: Studio,
    camera: Camera,
    x: np.ndarray,
    y: np.ndarray,
    distance: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the brightness at floor points `x`, `y` (metres), seen from `distance`; all (height, width)."""
    radius = np.hypot(x, y)
    brightness = studio.lighting.floor_brightness * (1.04 - 0.012 * (radius - 1.5) ** 2)
    # The turntable's rim is at least as wide as a pixel's footprint on the floor, to avoid aliasing.
    footprint = distance**2 / (camera.focal_length * camera.position[2]) * 0.6 + 0.008
    rim = np.exp(-(((radius - studio.turntable_radius) / footprint) ** 2))
    rim *= np.minimum(1, 0.012 / footprint * 1.5)
    brightness *= 1 + rng.uniform(-0.1, 0.06) * (radius < studio.turntable_radius)
    brightness *= 1 - 0.5 * rim
    for _ in range(int(rng.integers(2, 6))):
        # A straight dark or bright streak.
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-2.5, 2.5)
        width, contrast = rng.uniform(0.03, 0.3), rng.uniform(-0.09, 0.07)
        across = x * np.cos(angle) + y * np.sin(angle) - offset
        brightness *= 1 + contrast * np.exp(-((across / width) ** 2))
    return brightness


def _wall_brightness(studio: Studio, x: np.ndarray, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the brightness (height, width) at points `x`, `z` (metres) of the wall."""
    brightness = studio.lighting.wall_brightness * (1 + 0.03 * np.clip(z, 0, 3) - 0.006 * x**2)
    for _ in range(int(rng.integers(1, 4))):
        # A soft rectangular spot of light.
        centre_x, centre_z = rng.uniform(-4, 4), rng.uniform(0.8, 3)
        half_width, half_height = rng.uniform(0.4, 1.6), rng.uniform(0.3, 0.9)
        distance = np.square(np.square((x - centre_x) / half_width))
        distance += np.square(np.square((z - centre_z) / half_height))
        brightness += rng.uniform(-0.05, 0.12) * np.exp(-distance)
    if studio.wall_text:
        brightness *= 1 - (1 - studio.text_brightness) * _text_coverage(studio.wall_text, x, z, rng)
    return brightness


def _text_coverage(text: str, x: np.ndarray, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the share (height, width), 0..1, to which letters cover points `x`, `z` (metres) of the wall."""
    font, font_scale, thickness, padding = cv2.FONT_HERSHEY_DUPLEX, 4.0, 12, 20
    width, bottom = rng.uniform(7, 9), rng.uniform(1.0, 1.35)  # metres
    (text_width, text_height), _ = cv2.getTextSize(text, font, font_scale, thickness)
    image = np.zeros((text_height + 2 * padding, text_width + 2 * padding), dtype=np.uint8)
    cv2.putText(image, text, (padding, text_height + padding), font, font_scale, 255, thickness, cv2.LINE_AA)
    pixels_per_metre = image.shape[1] / width
    blurred = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), pixels_per_metre * 0.012)
    column = (x + width / 2) * pixels_per_metre
    row = image.shape[0] - (z - bottom) * pixels_per_metre
    return cv2.remap(blurred, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)


def _smooth_noise(size: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise of mean 0, `size` (height, width), with `cells` random values across."""
    noise = rng.normal(size=(max(2, cells * 2 // 3), cells)).astype(np.float32)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
