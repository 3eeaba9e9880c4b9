"""The measures of one car, drawn at random within its body type."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

Range = tuple[float, float]


@dataclass(frozen=True)
class BodyType:
    """Ranges of a body type's measures: metres, or shares of the car's length or height."""

    length: Range
    width: Range
    height: Range
    clearance: Range
    wheel: Range
    """Radius of the wheels, tyres included."""
    nose: Range
    belt: Range
    tail: Range
    """Heights of the body's upper edge at nose, doors and tail, shares of the car's height."""
    cabin: tuple[Range, Range, Range, Range]
    """Where windscreen and rear window stand, foot then top, shares of the length (0 the middle, + ahead)."""
    doors: int
    windows: int
    """Windows on one side."""


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
"""Body types by name, in the order in which cars take them in turn."""


@dataclass(frozen=True)
class Proportions:
    """The measures of one car, in metres; x is 0 at the car's middle and positive ahead."""

    body: str
    kind: BodyType
    length: float
    width: float
    height: float
    clearance: float
    wheel: float
    edge: tuple[float, float, float]
    """Height of the body's upper edge at nose, doors, tail."""
    cabin: tuple[float, float, float, float]
    """x of windscreen foot, windscreen top, rear window top, rear window foot."""
    axles: tuple[float, float]
    squareness: float
    tumblehome: float
    """How far the roof's edge lies inside the window sill's, on each side."""
    crown: float

    def shoulder(self, x: np.ndarray) -> np.ndarray:
        """Height of the body's upper edge over `x`: up the bonnet, along the doors, over the boot."""
        nose, belt, tail = self.edge
        half, foot, end = self.length / 2, self.cabin[0], self.cabin[3]
        rear = max(end, -half + 0.12)
        stops = [-half, rear, 0.0, foot, half - 0.32, half]
        heights = [tail - 0.03, tail, belt, belt - 0.01, nose + 0.4 * (belt - nose), nose]
        return PchipInterpolator(stops, heights, extrapolate=True)(np.clip(x, -half, half))

    def sill(self, x: np.ndarray) -> np.ndarray:
        """Height of the body's lower edge over `x`; the bumpers sit a little higher."""
        return self.clearance + 0.09 * np.abs(x / (self.length / 2)) ** 6

    @property
    def cabin_widths(self) -> tuple[float, float]:
        """Half widths of the cabin at its foot and at its top."""
        foot = self.width / 2 - 0.105
        return foot, foot - self.tumblehome

    @property
    def glass_heights(self) -> tuple[float, float]:
        """Heights of the cabin's foot and of the roof's edge."""
        return self.edge[1] - 0.06, self.height - self.crown

    def cabin_ends(self, z: float) -> tuple[float, float]:
        """x of the cabin's front and rear at height `z`."""
        low, high = self.glass_heights
        share = (z - low) / (high - low)
        foot, top, rear_top, rear_foot = self.cabin
        return foot + share * (top - foot), rear_foot + share * (rear_top - rear_foot)


def draw_proportions(number: int, rng: np.random.Generator) -> Proportions:
    """The measures of car `number`; cars take the body types in turn."""
    body = list(BODY_TYPES)[number % len(BODY_TYPES)]
    kind = BODY_TYPES[body]
    length, width, height = (rng.uniform(*span) for span in (kind.length, kind.width, kind.height))
    wheel = rng.uniform(*kind.wheel)
    front = length / 2 - length * rng.uniform(0.175, 0.2)
    return Proportions(
        body=body,
        kind=kind,
        length=length,
        width=width,
        height=height,
        clearance=rng.uniform(*kind.clearance),
        wheel=wheel,
        edge=tuple(height * rng.uniform(*span) for span in (kind.nose, kind.belt, kind.tail)),
        cabin=_cabin(length, kind, rng),
        axles=(front, front - length * rng.uniform(0.575, 0.61)),
        squareness=rng.uniform(4.2, 6.5) + (1.5 if body in ("Van", "Pickup", "SUV") else 0),
        tumblehome=rng.uniform(0.1, 0.19) * (0.7 if body in ("Van", "Pickup") else 1),
        crown=rng.uniform(0.03, 0.06),
    )


def _cabin(length: float, kind: BodyType, rng: np.random.Generator) -> tuple[float, float, float, float]:
    foot, top, rear_top, rear_foot = (length * rng.uniform(*span) for span in kind.cabin)
    # The cabin stands on the body, clear of the tail's rounded edge.
    rear_foot = max(rear_foot, 0.16 - length / 2)
    return foot, top, max(rear_top, rear_foot + 0.03), rear_foot
