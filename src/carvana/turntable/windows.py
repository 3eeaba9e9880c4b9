"""Layout of a car's side windows."""

import numpy as np

from carvana.turntable.dimensions import CarDimensions
from carvana.turntable.textures import Point


class SideWindows:
    """The windows of a car's side: between its pillars, from the beltline to below the roof's edge.

    `bottom` and `top` are heights in metres; `pillars` are x of the pillars between the windows.
    """

    def __init__(self, dimensions: CarDimensions, rng: np.random.Generator) -> None:
        """Lay out the windows, with pillar positions drawn from `rng`."""
        self.bottom, self.top = dimensions.beltline + 0.035, dimensions.cabin_heights[1] - 0.1
        self._dimensions = dimensions
        self._front_pillar_width = rng.uniform(0.13, 0.18)
        rear = {"Sedan": 0.22, "Coupe": 0.3, "Hatchback": 0.3, "Pickup": 0.1}.get(dimensions.body_type, 0.2)
        self._rear_pillar_width = rear * rng.uniform(0.9, 1.3)
        front = self.extent(self.bottom)[0]
        first_width = rng.uniform(0.98, 1.12) if dimensions.doors == 4 else 1.5
        if dimensions.body_type == "Pickup":
            first_width = 0.92
        self.pillars = [
            front - 0.2 - first_width * (1 + 0.82 * number)
            for number in range(dimensions.windows_per_side - 1)
        ]

    def extent(self, z: float) -> tuple[float, float]:
        """Return x of the front and of the rear end of the windows at height `z`."""
        front, rear = self._dimensions.cabin_extent(z)
        return front - self._front_pillar_width, rear + self._rear_pillar_width

    def outlines(self, margin: float) -> list[list[Point]]:
        """Return the corners (x, z) of each window, front to rear, enlarged by `margin` metres on all sides."""
        bottom, top = self.bottom - margin, self.top + margin
        (front_bottom, rear_bottom), (front_top, rear_top) = self.extent(bottom), self.extent(top)
        fronts = [(front_bottom, front_top), *((x - 0.04, x - 0.07) for x in self.pillars)]
        rears = [*((x + 0.04, x + 0.01) for x in self.pillars), (rear_bottom, rear_top)]
        outlines = []
        for front, rear in zip(fronts, rears, strict=True):
            if front[1] - rear[1] < 0.08 and front[0] - rear[0] < 0.2:
                continue
            # A window that narrows to a point ends there.
            upper_front = max(rear[1], min(front[1], front[0]))
            outlines.append(
                [
                    (front[0] + margin, bottom),
                    (upper_front + margin, top),
                    (rear[1] - margin, top),
                    (rear[0] - margin, bottom),
                ]
            )
        return outlines
