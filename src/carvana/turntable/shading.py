"""Shading: diffuse and specular reflection of the studio's light."""

from dataclasses import dataclass

import numpy as np

from carvana.turntable.materials import MaterialTable


@dataclass(frozen=True)
class Lighting:
    """Light sources and environment of a studio; brightness is in 0..1."""

    floor_brightness: float
    wall_brightness: float
    ambient: float
    """Share of the diffuse light that is ambient, 0..1; the rest comes from the key light."""
    key_direction: np.ndarray
    """(3,) float32 unit vector toward the key light, in world coordinates."""
    ceiling_lights: np.ndarray
    """(N, 4) centre x, centre y, half width, half depth of each light, on a ceiling one unit above the car."""


def shade(
    lighting: Lighting,
    materials: MaterialTable,
    material_ids: np.ndarray,
    normals: np.ndarray,
    view_directions: np.ndarray,
    height: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Shade surface points: Lambertian diffuse reflection, and a mirror image of the environment.

    Args:
        lighting: the studio's lighting.
        materials: optical properties of the materials.
        material_ids: (N,) uint8.
        normals: (3, N) unit vectors in world coordinates.
        view_directions: (3, N) unit vectors from the camera to the points, in world coordinates.
        height: (N,) metres above the floor.

    Returns:
        Colours (3, N) and transmittances (N,), both in about 0..1.
    """
    # Smoothed normals can point away from the camera along a silhouette.
    cosine = np.minimum((normals * view_directions).sum(axis=0), 0)
    reflected = view_directions - 2 * cosine * normals
    transmittance = materials.transmittance[material_ids]
    # More is reflected at grazing angles, as in https://en.wikipedia.org/wiki/Schlick%27s_approximation.
    fresnel = 1 + 6 * (1 + cosine) ** 4
    reflectance = np.minimum(materials.reflectance[material_ids] * fresnel, np.float32(0.9))
    specular = reflectance * _environment_brightness(lighting, reflected, height)
    key = np.maximum(np.einsum("i,in->n", lighting.key_direction, normals), 0)
    # Ambient occlusion by the floor.
    occlusion = 0.5 + 0.5 * np.clip(height / 0.75, 0, 1)
    diffuse = (lighting.ambient * (0.72 + 0.28 * normals[2]) + (1 - lighting.ambient) * key) * occlusion
    albedo = materials.albedo.T[:, material_ids]
    colour = albedo * (1.06 * diffuse * (1 - transmittance) * (1 - reflectance)) + specular
    return colour, transmittance * (1 - reflectance)


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (3, N) to unit length."""
    return vectors / (np.sqrt((vectors * vectors).sum(axis=0)) + np.float32(1e-9))


def smoothstep(value: np.ndarray) -> np.ndarray:
    """Interpolate smoothly from 0 at 0 to 1 at 1: https://en.wikipedia.org/wiki/Smoothstep."""
    clamped = np.clip(value, 0, 1)
    return clamped * clamped * (3 - 2 * clamped)


def _environment_brightness(lighting: Lighting, directions: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Return the brightness (N,) of floor, wall and ceiling lights in `directions` (3, N) from points."""
    up = directions[2]
    # The floor near the car is in its shadow.
    shadow = 0.45 + 0.4 * np.clip(-0.15 / np.minimum(up, -1e-3) * height, 0, 1)
    floor = lighting.floor_brightness * shadow
    wall = lighting.wall_brightness * (0.85 + 0.15 * up)
    brightness = floor + _ramp(up, -0.06, 0.1) * (wall - floor)
    to_ceiling = 1 / np.maximum(up, 0.05)
    x, y = directions[0] * to_ceiling, directions[1] * to_ceiling
    for centre_x, centre_y, half_width, half_depth in lighting.ceiling_lights:
        inside = 1 - _ramp(np.abs(x - centre_x), half_width - 0.12, half_width + 0.12)
        inside *= 1 - _ramp(np.abs(y - centre_y), half_depth - 0.12, half_depth + 0.12)
        brightness += 1.5 * inside * (up > 0.05)
    return brightness


def _ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Interpolate smoothly from 0 at `low` to 1 at `high`."""
    return smoothstep((value - low) / (high - low))
