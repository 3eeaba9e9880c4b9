"""Materials of a car and their optical properties."""

from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np
from numpy.typing import ArrayLike

PAINTS: tuple[tuple[str, tuple[float, float, float]], ...] = (
    ("white", (0.90, 0.90, 0.89)),
    ("black", (0.055, 0.055, 0.06)),
    ("silver", (0.66, 0.67, 0.68)),
    ("blue", (0.10, 0.20, 0.42)),
    ("grey", (0.36, 0.37, 0.39)),
    ("red", (0.58, 0.06, 0.07)),
    ("white", (0.84, 0.85, 0.86)),
    ("black", (0.09, 0.085, 0.085)),
    ("silver", (0.56, 0.57, 0.58)),
    ("beige", (0.60, 0.56, 0.49)),
    ("grey", (0.27, 0.28, 0.29)),
    ("green", (0.13, 0.24, 0.17)),
)
"""Paint names and albedos (red, green, blue in 0..1), in the order in which cars cycle through them."""


class Material(IntEnum):
    """Material id of a texture pixel or a mesh face."""

    PAINT = 0
    HOLE = auto()
    """Cut-out without any surface: the wheel arches, and the deck under the cabin."""
    GLASS = auto()
    PRIVACY_GLASS = auto()
    """Darkened glass of the rear windows."""
    ACCENT = auto()
    """Second colour of two-tone cars, on roof and mirrors; the paint's colour on other cars."""
    TRIM = auto()
    SEAM = auto()
    CHROME = auto()
    HEADLAMP = auto()
    TAILLAMP = auto()
    INDICATOR = auto()
    LICENCE_PLATE = auto()
    GRILLE = auto()
    TYRE = auto()
    RIM = auto()
    UNDERBODY = auto()
    """Near-black surfaces: the underbody, a pickup's bed, the gaps between spokes."""
    INTERIOR = auto()


@dataclass(frozen=True)
class MaterialTable:
    """Optical properties of a car's materials, as arrays indexed by `Material`.

    `albedo` (materials, 3) float32 in 0..1; `reflectance` (materials,) the specular reflectance at normal
    incidence, 0..1; `transmittance` (materials,) the share of light that passes through, 0..1.
    """

    albedo: np.ndarray
    reflectance: np.ndarray
    transmittance: np.ndarray


def sample_materials(index: int, rng: np.random.Generator) -> MaterialTable:
    """Sample the materials of car `index`: the next of `PAINTS`, with shade and glass tint drawn from `rng`."""
    name, base = PAINTS[index % len(PAINTS)]
    paint = np.array(base) * rng.uniform(0.93, 1.07) + rng.normal(0, 0.008, 3)
    two_tone = rng.random() < 0.15
    glass, privacy_glass = rng.uniform(0.62, 0.85), rng.uniform(0.12, 0.7)
    rim = rng.choice([0.72, 0.62, 0.5, 0.16], p=[0.4, 0.3, 0.15, 0.15])
    interior = rng.choice([0.09, 0.13, 0.3], p=[0.5, 0.3, 0.2]) * np.array(
        [1.05, 1.0, rng.uniform(0.85, 1.0)]
    )
    # Albedo, reflectance, transmittance.
    rows: dict[Material, tuple[ArrayLike, float, float]] = {
        Material.PAINT: (paint, 0.16 if name == "silver" else 0.085, 0),
        Material.HOLE: (0, 0, 1),
        Material.GLASS: ((0.02, 0.03, 0.03), 0.09, glass),
        Material.PRIVACY_GLASS: ((0.02, 0.02, 0.025), 0.09, min(glass, privacy_glass)),
        Material.ACCENT: ((0.06, 0.06, 0.065) if two_tone else paint, 0.06, 0),
        Material.TRIM: (0.085, 0.02, 0),
        Material.SEAM: (np.clip(paint, 0, 1) * 0.45, 0.0, 0),
        Material.CHROME: (0.45, 0.45, 0),
        Material.HEADLAMP: ((0.56, 0.58, 0.60), 0.1, 0),
        Material.TAILLAMP: ((0.50, 0.04, 0.04), 0.1, 0),
        Material.INDICATOR: ((0.80, 0.42, 0.08), 0.08, 0),
        Material.LICENCE_PLATE: ((0.88, 0.89, 0.92), 0.02, 0),
        Material.GRILLE: (0.05, 0.03, 0),
        Material.TYRE: (0.075, 0.015, 0),
        Material.RIM: (rim, 0.2, 0),
        Material.UNDERBODY: (0.035, 0.0, 0),
        Material.INTERIOR: (interior, 0.01, 0),
    }
    albedo = np.array([np.broadcast_to(rows[material][0], 3) for material in Material], dtype=np.float32)
    reflectance, transmittance = (
        np.array([rows[material][column] for material in Material], dtype=np.float32) for column in (1, 2)
    )
    return MaterialTable(np.clip(albedo, 0.02, 0.94), reflectance, transmittance)
