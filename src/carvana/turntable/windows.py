"""Where a car's glass lies: the panes of its flanks, its windscreen and its rear window."""

from itertools import pairwise

import numpy as np

from carvana.turntable.dimensions import Proportions
from carvana.turntable.materials import Material
from carvana.turntable.textures import Sheet

_LANE = 0.78  # share of the cabin's half width at which its front ends and its flank begins


class Windows:
    """Where a flank's windows lie: between the pillars, from the belt to under the roof's edge."""

    def __init__(self, shape: Proportions, rng: np.random.Generator) -> None:
        """Place the pillars of `shape`."""
        self.low, self.high = shape.edge[1] + 0.035, shape.glass_heights[1] - 0.1
        self.shape = shape
        self.front_pillar = rng.uniform(0.13, 0.18)
        rear = {"Sedan": 0.22, "Coupe": 0.3, "Hatchback": 0.3, "Pickup": 0.1}.get(shape.body, 0.2)
        self.rear_pillar = rear * rng.uniform(0.9, 1.3)
        front = self.ends(self.low)[0]
        first = rng.uniform(0.98, 1.12) if shape.kind.doors == 4 else 1.5
        if shape.body == "Pickup":
            first = 0.92
        self.posts = [front - 0.2 - first * (1 + 0.82 * k) for k in range(shape.kind.windows - 1)]
        """x of the pillars between the windows."""

    def ends(self, z: float) -> tuple[float, float]:
        """x of the foremost and the rearmost glass at height `z`."""
        front, rear = self.shape.cabin_ends(z)
        return front - self.front_pillar, rear + self.rear_pillar

    def panes(self, frame: float) -> list[list[tuple[float, float]]]:
        """The panes' corners, grown by `frame` metres on every side."""
        low, high = self.low - frame, self.high + frame
        (front_low, rear_low), (front_high, rear_high) = self.ends(low), self.ends(high)
        cuts = [None, *self.posts, None]
        panes = []
        for ahead, behind in pairwise(cuts):
            front = (front_low, front_high) if ahead is None else (ahead - 0.04, ahead - 0.07)
            rear = (rear_low, rear_high) if behind is None else (behind + 0.04, behind + 0.01)
            if front[1] - rear[1] < 0.08 and front[0] - rear[0] < 0.2:
                continue
            crossing = max(rear[1], min(front[1], front[0]))
            panes.append(
                [
                    (front[0] + frame, low),
                    (max(crossing, rear[1]) + frame, high),
                    (rear[1] - frame, high),
                    (rear[0] - frame, low),
                ]
            )
        return panes


def draw_screen(board: Sheet, shape: Proportions, low: float, glass: Material) -> None:
    """Draw the windscreen or the rear window, from height `low` to under the roof's edge, in a dark frame."""
    base, top = shape.glass_heights
    wide, narrow = shape.cabin_widths
    for grow, material in ((0.03, Material.TRIM), (0.0, glass)):
        corners = []
        for z in (low - grow, top - 0.085 + grow):
            half = (wide + (z - base) / (top - base) * (narrow - wide)) * _LANE + grow
            corners.append((half, z))
        (right, bottom), (inner, high) = corners
        board.fill([(-right, bottom), (right, bottom), (inner, high), (-inner, high)], material)
