"""Dimensions of one car, sampled within the ranges of its body type."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

Range = tuple[float, float]


@dataclass(frozen=True)
class BodyType:
    """Ranges of a body type's dimensions."""

    length: Range
    width: Range
    height: Range
    ground_clearance: Range
    wheel_radius: Range
    """Tyres included. Like all ranges above in metres."""
    nose_height: Range
    beltline: Range
    tail_height: Range
    """Height of the body's upper edge at nose, doors and tail, in shares of the car's height."""
    cabin: tuple[Range, Range, Range, Range]
    """The positions of `CabinProfile` in shares of the car's length."""
    doors: int
    windows_per_side: int


BODY_TYPES: dict[str, BodyType] = {
    "Sedan": BodyType(
        (4.5, 4.95), (1.78, 1.88), (1.42, 1.5), (0.17, 0.2), (0.31, 0.34), (0.52, 0.56), (0.62, 0.65),
        (0.66, 0.7), ((0.19, 0.24), (0.02, 0.06), (-0.24, -0.2), (-0.39, -0.35)), 4, 2,
    ),
    "Hatchback": BodyType(
        (3.75, 4.3), (1.68, 1.8), (1.45, 1.56), (0.16, 0.2), (0.29, 0.33), (0.5, 0.55), (0.6, 0.64),
        (0.62, 0.66), ((0.22, 0.28), (0.06, 0.11), (-0.40, -0.34), (-0.475, -0.45)), 4, 2,
    ),
    "SUV": BodyType(
        (4.35, 4.95), (1.84, 1.98), (1.64, 1.84), (0.22, 0.28), (0.35, 0.4), (0.57, 0.61), (0.62, 0.66),
        (0.62, 0.66), ((0.19, 0.24), (0.06, 0.1), (-0.43, -0.38), (-0.48, -0.46)), 4, 3,
    ),
    "Coupe": BodyType(
        (4.3, 4.7), (1.78, 1.9), (1.27, 1.38), (0.14, 0.17), (0.32, 0.35), (0.51, 0.55), (0.64, 0.67),
        (0.7, 0.74), ((0.14, 0.19), (-0.04, 0.0), (-0.19, -0.14), (-0.42, -0.37)), 2, 1,
    ),
    "Wagon": BodyType(
        (4.55, 4.95), (1.78, 1.88), (1.45, 1.54), (0.17, 0.21), (0.31, 0.34), (0.5, 0.54), (0.61, 0.64),
        (0.62, 0.66), ((0.19, 0.24), (0.03, 0.07), (-0.44, -0.40), (-0.485, -0.47)), 4, 3,
    ),
    "Pickup": BodyType(
        (5.2, 5.7), (1.88, 2.0), (1.76, 1.9), (0.27, 0.33), (0.38, 0.42), (0.59, 0.62), (0.63, 0.66),
        (0.61, 0.65), ((0.17, 0.21), (0.08, 0.12), (-0.14, -0.08), (-0.16, -0.12)), 4, 2,
    ),
    "Van": BodyType(
        (4.8, 5.2), (1.86, 2.0), (1.76, 1.98), (0.18, 0.22), (0.32, 0.35), (0.5, 0.55), (0.55, 0.6),
        (0.56, 0.6), ((0.3, 0.35), (0.14, 0.19), (-0.47, -0.44), (-0.485, -0.475)), 4, 3,
    ),
}  # fmt: skip
"""Body types by name, in the order in which cars cycle through them."""


class CabinProfile(NamedTuple):
    """Positions along the car (x, in metres) of the base and the top of windscreen and rear window."""

    windscreen_base: float
    windscreen_top: float
    rear_window_top: float
    rear_window_base: float


@dataclass(frozen=True)
class CarDimensions:
    """Dimensions of one car in metres; x is 0 at the car's middle and positive forward, z is 0 on the ground."""

    body_type: str
    doors: int
    windows_per_side: int
    length: float
    width: float
    height: float
    ground_clearance: float
    wheel_radius: float
    nose_height: float
    beltline: float
    tail_height: float
    """Height of the body's upper edge at nose, doors and tail."""
    cabin: CabinProfile
    axles: tuple[float, float]
    """x of the front and the rear axle."""
    plan_exponent: float
    """Exponent of the superellipse that the body is in plan view."""
    tumblehome: float
    """Distance by which the cabin leans inward between its base and the roof's edge, on each side."""
    roof_crown: float
    """Height of the roof's middle above its edge."""

    def shoulder_height(self, x: np.ndarray) -> np.ndarray:
        """Return the height of the body's upper edge at `x`: along bonnet, doors and boot."""
        half_length = self.length / 2
        rear = max(self.cabin.rear_window_base, -half_length + 0.12)
        positions = [-half_length, rear, 0.0, self.cabin.windscreen_base, half_length - 0.32, half_length]
        heights = [
            self.tail_height - 0.03,
            self.tail_height,
            self.beltline,
            self.beltline - 0.01,
            self.nose_height + 0.4 * (self.beltline - self.nose_height),
            self.nose_height,
        ]
        return PchipInterpolator(positions, heights, extrapolate=True)(np.clip(x, -half_length, half_length))

    def sill_height(self, x: np.ndarray) -> np.ndarray:
        """Return the height of the body's lower edge at `x`, which rises toward the bumpers."""
        return self.ground_clearance + 0.09 * np.abs(x / (self.length / 2)) ** 6

    @property
    def cabin_half_widths(self) -> tuple[float, float]:
        """Half widths of the cabin at its base and at the roof's edge."""
        base = self.width / 2 - 0.105
        return base, base - self.tumblehome

    @property
    def cabin_heights(self) -> tuple[float, float]:
        """Heights of the cabin's base and of the roof's edge."""
        return self.beltline - 0.06, self.height - self.roof_crown

    def cabin_half_width(self, z: float) -> float:
        """Return the half width of the cabin at height `z`."""
        (base, roof), (base_half, roof_half) = self.cabin_heights, self.cabin_half_widths
        return base_half + (z - base) / (roof - base) * (roof_half - base_half)

    def cabin_extent(self, z: float) -> tuple[float, float]:
        """Return x of the cabin's front and of its rear at height `z`."""
        base, roof = self.cabin_heights
        share = (z - base) / (roof - base)
        front_base, front_top, rear_top, rear_base = self.cabin
        return front_base + share * (front_top - front_base), rear_base + share * (rear_top - rear_base)


def sample_dimensions(index: int, rng: np.random.Generator) -> CarDimensions:
    """Sample the dimensions of car `index`, whose body type is the next of `BODY_TYPES`."""
    name = list(BODY_TYPES)[index % len(BODY_TYPES)]
    body = BODY_TYPES[name]
    length, width, height = (rng.uniform(*limits) for limits in (body.length, body.width, body.height))
    wheel_radius = rng.uniform(*body.wheel_radius)
    front_axle = length / 2 - length * rng.uniform(0.175, 0.2)
    return CarDimensions(
        body_type=name,
        doors=body.doors,
        windows_per_side=body.windows_per_side,
        length=length,
        width=width,
        height=height,
        ground_clearance=rng.uniform(*body.ground_clearance),
        wheel_radius=wheel_radius,
        nose_height=height * rng.uniform(*body.nose_height),
        beltline=height * rng.uniform(*body.beltline),
        tail_height=height * rng.uniform(*body.tail_height),
        cabin=_sample_cabin(length, body, rng),
        axles=(front_axle, front_axle - length * rng.uniform(0.575, 0.61)),
        plan_exponent=rng.uniform(4.2, 6.5) + (1.5 if name in ("Van", "Pickup", "SUV") else 0),
        tumblehome=rng.uniform(0.1, 0.19) * (0.7 if name in ("Van", "Pickup") else 1),
        roof_crown=rng.uniform(0.03, 0.06),
    )


def _sample_cabin(length: float, body: BodyType, rng: np.random.Generator) -> CabinProfile:
    front_base, front_top, rear_top, rear_base = (length * rng.uniform(*limits) for limits in body.cabin)
    # The cabin stays clear of the tail's rounded edge.
    rear_base = max(rear_base, 0.16 - length / 2)
    return CabinProfile(front_base, front_top, max(rear_top, rear_base + 0.03), rear_base)
