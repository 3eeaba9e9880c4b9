"""What a car is made of: material codes and how each of them takes the light."""

from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np

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
"""Names and colours (red, green, blue in 0..1) that cars are painted in, in turn."""


class Material(IntEnum):
    """The code of a material on a sheet or a face."""

    PAINT = 0
    HOLE = auto()
    """No surface at all: the wheel arches, and the deck under the cabin."""
    GLASS = auto()
    PRIVACY = auto()
    """Darkened glass of the rear windows."""
    ACCENT = auto()
    """The second colour: roof and mirrors of two-tone cars, paint on the others."""
    TRIM = auto()
    SEAM = auto()
    CHROME = auto()
    HEADLAMP = auto()
    TAILLAMP = auto()
    AMBER = auto()
    PLATE = auto()
    GRILLE = auto()
    TYRE = auto()
    RIM = auto()
    WELL = auto()
    CABIN = auto()


@dataclass(frozen=True)
class Palette:
    """How a car's materials take the light, indexed by `Material`.

    `colour` (materials, 3) float32 in 0..1; `mirror` (materials,) the share of light that is reflected
    head-on; `clear` (materials,) the share of light that passes through.
    """

    colour: np.ndarray
    mirror: np.ndarray
    clear: np.ndarray


def mix_palette(number: int, rng: np.random.Generator) -> Palette:
    """The palette of car `number`: the paints in turn, each car's shade and tint its own."""
    name, base = PAINTS[number % len(PAINTS)]
    paint = np.array(base) * rng.uniform(0.93, 1.07) + rng.normal(0, 0.008, 3)
    two_tone = rng.random() < 0.15
    tint, privacy = rng.uniform(0.62, 0.85), rng.uniform(0.12, 0.7)
    rim = rng.choice([0.72, 0.62, 0.5, 0.16], p=[0.4, 0.3, 0.15, 0.15])
    cabin = rng.choice([0.09, 0.13, 0.3], p=[0.5, 0.3, 0.2]) * np.array([1.05, 1.0, rng.uniform(0.85, 1.0)])
    rows: dict[Material, tuple[object, float, float]] = {
        Material.PAINT: (paint, 0.16 if name == "silver" else 0.085, 0),
        Material.HOLE: (0, 0, 1),
        Material.GLASS: ((0.02, 0.03, 0.03), 0.09, tint),
        Material.PRIVACY: ((0.02, 0.02, 0.025), 0.09, min(tint, privacy)),
        Material.ACCENT: ((0.06, 0.06, 0.065) if two_tone else paint, 0.06, 0),
        Material.TRIM: (0.085, 0.02, 0),
        Material.SEAM: (np.clip(paint, 0, 1) * 0.45, 0.0, 0),
        Material.CHROME: (0.45, 0.45, 0),
        Material.HEADLAMP: ((0.56, 0.58, 0.60), 0.1, 0),
        Material.TAILLAMP: ((0.50, 0.04, 0.04), 0.1, 0),
        Material.AMBER: ((0.80, 0.42, 0.08), 0.08, 0),
        Material.PLATE: ((0.88, 0.89, 0.92), 0.02, 0),
        Material.GRILLE: (0.05, 0.03, 0),
        Material.TYRE: (0.075, 0.015, 0),
        Material.RIM: (rim, 0.2, 0),
        Material.WELL: (0.035, 0.0, 0),
        Material.CABIN: (cabin, 0.01, 0),
    }
    colour = np.array([np.broadcast_to(rows[code][0], 3) for code in Material], dtype=np.float32)
    mirror, clear = (np.array([rows[code][k] for code in Material], dtype=np.float32) for k in (1, 2))
    return Palette(np.clip(colour, 0.02, 0.94), mirror, clear)
