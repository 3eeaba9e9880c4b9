"""How light falls on a car: diffuse light from the studio, and the studio mirrored in paint and glass."""

from dataclasses import dataclass

import numpy as np

from carvana.turntable.materials import MaterialTable


@dataclass(frozen=True)
class Lights:
    """The studio's light as a car sees it; tones are brightness in 0..1.

    `key` (3,) points to the main light; `panels` (N, 4) are ceiling lights: middle and half size, across
    and away, on a ceiling one unit up.
    """

    floor: float
    wall: float
    ambient: float
    """The share of light that comes from everywhere; the rest is the main light."""
    key: np.ndarray
    panels: np.ndarray


def shade(
    lights: Lights,
    palette: MaterialTable,
    codes: np.ndarray,
    normals: np.ndarray,
    rays: np.ndarray,
    height: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (3, N) of surface points and the share (N,) of what lies behind that they let through.

    `codes` (N,) materials; `normals` and `rays` (3, N) unit vectors in the studio's axes, rays from the
    camera; `height` (N,) metres above the floor.
    """
    # Toward its rim a surface can lean away from the camera by its smoothed normal alone.
    facing = np.minimum((normals * rays).sum(axis=0), 0)
    mirrored = rays - 2 * facing * normals
    clear = palette.transmittance[codes]
    mirror = np.minimum(palette.reflectance[codes] * (1 + 6 * (1 + facing) ** 4), np.float32(0.9))
    glint = mirror * _surroundings(lights, mirrored, height)
    sun = np.maximum(np.einsum("i,in->n", lights.key, normals), 0)
    # Close to the floor less of the studio is in sight.
    shelter = 0.5 + 0.5 * np.clip(height / 0.75, 0, 1)
    diffuse = (lights.ambient * (0.72 + 0.28 * normals[2]) + (1 - lights.ambient) * sun) * shelter
    colour = palette.albedo.T[:, codes] * (1.06 * diffuse * (1 - clear) * (1 - mirror)) + glint
    return colour, clear * (1 - mirror)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (3, N) at length 1."""
    return vectors / (np.sqrt((vectors * vectors).sum(axis=0)) + np.float32(1e-9))


def _surroundings(lights: Lights, rays: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Brightness (N,) of the studio along mirrored `rays`: floor, wall, and lights in the ceiling."""
    up = rays[2]
    blend = _step(up, -0.06, 0.1)
    # The floor right beside the car lies in its shadow.
    floor = lights.floor * (0.45 + 0.4 * np.clip(-0.15 / np.minimum(up, -1e-3) * height, 0, 1))
    light = floor + blend * (lights.wall * (0.85 + 0.15 * up) - floor)
    above = 1 / np.maximum(up, 0.05)
    across, away = rays[0] * above, rays[1] * above
    for x, y, half_x, half_y in lights.panels:
        inside = 1 - _step(np.abs(across - x), half_x - 0.12, half_x + 0.12)
        inside *= 1 - _step(np.abs(away - y), half_y - 0.12, half_y + 0.12)
        light += 1.5 * inside * (up > 0.05)
    return light


def _step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)
