"""One car: its proportions skinned into a mesh, its sheets and its palette."""

from dataclasses import dataclass

import numpy as np

from carvana.turntable.car_textures import draw_sheets
from carvana.turntable.dimensions import Proportions, draw_proportions
from carvana.turntable.materials import Material, Palette, mix_palette
from carvana.turntable.mesh import Mesh, blob, lean, outline, sheeted
from carvana.turntable.textures import AXES, Side


@dataclass(frozen=True)
class Car:
    """A car ready to be rendered.

    `shell` is what windows and wheel arches are cut into; `wheels` and `inside` are seen through them;
    `outside` is mounted on the shell. `sheets` (sheets, height, width) uint8 at `scale` pixels a metre.
    """

    shape: Proportions
    shell: tuple[Mesh, ...]
    wheels: tuple[Mesh, ...]
    inside: tuple[Mesh, ...]
    outside: tuple[Mesh, ...]
    sheets: np.ndarray
    scale: float
    palette: Palette


def build_car(number: int, rng: np.random.Generator, scale: float) -> Car:
    """Car `number` with measures, paint and parts drawn from `rng`; details are `scale` pixels a metre."""
    shape = draw_proportions(number, rng)
    palette = mix_palette(number, rng)
    return Car(
        shape=shape,
        shell=(_body(shape), _cabin(shape)),
        wheels=tuple(_wheels(shape)),
        inside=tuple(_interior(shape)),
        outside=(*_mirrors(shape, rng), *_roof_parts(shape, rng)),
        # Last, as the number of draws in it differs from car to car.
        sheets=draw_sheets(shape, rng, scale),
        scale=scale,
        palette=palette,
    )


def _sides(plan: np.ndarray, half: tuple[float, float], walls: int, rings: int, top: Side) -> np.ndarray:
    """The sheet of each quad: front, rear or flank by where the wall looks, `top` above `walls` rings."""
    middle = (plan + np.roll(plan, -1, axis=0)) / 2
    edge = np.roll(plan, -1, axis=0) - plan
    ahead, aside = edge[:, 1] * half[1], -edge[:, 0] * half[0]
    wall = np.where(
        np.abs(aside) > np.abs(ahead), Side.FLANK, np.where(middle[:, 0] > 0, Side.FRONT, Side.REAR)
    )
    sheet = np.full((rings - 1, len(plan)), int(top))
    sheet[:walls] = wall
    return sheet


def _body(shape: Proportions) -> Mesh:
    """The lower body: walls from sill to shoulder, a rounded edge, then bonnet and boot closing over."""
    half, wide, bend = shape.length / 2, shape.width / 2, 0.085
    plan = outline(96, shape.squareness, half / wide)
    # (share of the height, inset along, inset across) of each ring of the walls, bottom to top.
    profile = [(0, 0.13, 0.10), (0.06, 0.06, 0.05), (0.16, 0.015, 0.012), (0.3, 0, 0), (0.45, 0.0, 0),
               (0.58, 0.02, 0.006), (0.68, 0.035, 0.0), (0.79, 0.05, 0.012)]  # fmt: skip
    rings = []
    for share, along, across in profile:
        x, y = plan[:, 0] * (half - along), plan[:, 1] * (wide - across)
        rings.append((x, y, shape.sill(x) + share * (shape.shoulder(x) - shape.sill(x)), 0.0))
    for turn in np.linspace(0.15, 1, 5) * np.pi / 2:
        inset = bend * (1 - np.cos(turn))
        x, y = plan[:, 0] * (half - 0.05 - inset), plan[:, 1] * (wide - 0.012 - inset)
        top = shape.shoulder(x)
        below = 0.2 * (top - shape.sill(x))
        rings.append((x, y, top - below * (1 - np.sin(turn)), 0.0))
    for close in (0.9, 0.7, 0.35, 0.0):
        x = plan[:, 0] * (half - 0.05 - bend - 0.05 * (1 - close))
        y = plan[:, 1] * (wide - 0.012 - bend) * close
        rings.append((x, y, shape.shoulder(x) + 0.04 * (1 - close**2), 0.0))
    stack = np.array([np.stack(ring[:3], axis=1) for ring in rings])
    walls = len(profile) + 3
    sheet = _sides(plan, (half, wide), walls, len(rings), Side.DECK)
    return sheeted(stack, sheet, AXES, (0, 0, 0))


def _cabin(shape: Proportions) -> Mesh:
    """The cabin: window walls that lean in, a rounded roof edge, a crowned roof closing over."""
    (low, high), (wide, narrow) = shape.glass_heights, shape.cabin_widths
    foot, top, rear_top, rear_foot = shape.cabin
    plan = outline(80, max(4.0, shape.squareness - 0.5), (foot - rear_foot) / 2 / wide)
    bend = 0.09
    levels = [(share, 0.0) for share in (0, 0.2, 0.4, 0.6, 0.8, 0.93)]
    levels += [
        (0.93 + 0.07 * np.sin(turn), bend * (1 - np.cos(turn))) for turn in np.linspace(0.2, 1, 5) * np.pi / 2
    ]
    rings = []
    for share, inset in levels:
        front, rear = foot + share * (top - foot), rear_foot + share * (rear_top - rear_foot)
        # Panes are arched a little, as pressed glass is.
        arch = 0.035 * 4 * share * (1 - share)
        x = (front + rear) / 2 + plan[:, 0] * ((front - rear) / 2 - inset + arch)
        y = plan[:, 1] * (wide + share * (narrow - wide) - inset + arch * 0.6)
        rings.append(np.stack([x, y, np.full_like(x, low + share * (high - low))], axis=1))
    edge = rings[-1]
    middle, reach = edge[:, 0].mean(), np.abs(edge[:, 0] - edge[:, 0].mean()).max()
    for close in (0.9, 0.7, 0.4, 0.0):
        lift = shape.crown * (1 - close**2) * (1 - 0.8 * ((edge[:, 0] - middle) / reach) ** 2)
        rings.append(np.stack([edge[:, 0], edge[:, 1] * close, high + lift], axis=1))
    sheet = _sides(plan, ((foot - rear_foot) / 2, wide), len(levels) - 3, len(rings), Side.ROOF)
    return sheeted(np.array(rings), sheet, AXES, (0, 0, 0))


def _wheels(shape: Proportions) -> list[Mesh]:
    """Four wheels: a tyre's tread and walls, then a rim that dips inward to its hub."""
    radius, wide = shape.wheel, 0.105 + 0.06 * (shape.wheel - 0.29)
    profile = [
        (0.0, -1),
        (0.9, -1),
        (1, -0.8),
        (1, 0.75),
        (0.94, 0.97),
        (0.8, 1),
        (0.72, 0.95),
        (0.66, 0.72),
        (0.3, 0.62),
        (0, 0.62),
    ]
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    meshes = []
    for axle in shape.axles:
        for side in (1, -1):
            hub = np.array([axle, side * (shape.width / 2 - wide - 0.02), radius])
            rings = np.empty((len(profile), len(turn), 3))
            for ring, (share, out) in zip(rings, profile, strict=True):
                ring[:, 0], ring[:, 2] = share * radius * np.cos(turn), share * radius * np.sin(turn)
                ring[:, 1] = side * out * wide
            sheet = np.full((len(profile) - 1, len(turn)), int(Side.WHEEL))
            meshes.append(sheeted(rings + hub, sheet, AXES, hub))
    return meshes


def _interior(shape: Proportions) -> list[Mesh]:
    """A dark floor box, which also closes the wheel arches, a dashboard and seats with headrests."""
    belt, wide = shape.edge[1], shape.width / 2
    front, rear = shape.cabin[0], shape.cabin[3]
    half, low = shape.length / 2 - 0.25, shape.clearance + 0.02
    core = blob((0, 0, low + 0.24), (half, wide - 0.27, 0.24), Material.WELL, squareness=8, points=48)
    parts = [
        core,
        blob((front - 0.3, 0, belt - 0.04), (0.22, wide - 0.15, 0.09), Material.CABIN, squareness=4),
    ]
    rows = [x for x in (front - 1.15, front - 2.0) if x > rear + 0.25]
    for x in rows:
        for y in (-0.37, 0.37):
            parts.append(blob((x, y, belt - 0.12), (0.09, 0.24, 0.26), Material.CABIN))
            parts.append(blob((x - 0.04, y, belt + 0.2), (0.05, 0.13, 0.09), Material.CABIN))
    return parts


def _mirrors(shape: Proportions, rng: np.random.Generator) -> list[Mesh]:
    size = np.array([0.07, 0.11, 0.075]) * rng.uniform(0.9, 1.25)
    x, z = shape.cabin_ends(shape.edge[1] + 0.1)[0] - 0.3, shape.edge[1] + 0.09
    y = shape.width / 2 + size[1] * 0.75
    material = Material.ACCENT if rng.random() < 0.75 else Material.TRIM
    arm = (0.03, 0.09, 0.022)
    return [
        part
        for side in (1, -1)
        for part in (
            blob((x, side * y, z), size, material, squareness=2.6),
            blob((x, side * (shape.width / 2 - 0.04), z - 0.06), arm, Material.TRIM),
        )
    ]


def _roof_parts(shape: Proportions, rng: np.random.Generator) -> list[Mesh]:
    """The antenna, and on some cars roof rails and a spoiler."""
    _, top, rear_top, _ = shape.cabin
    roof, narrow = shape.glass_heights[1], shape.cabin_widths[1]
    parts = []
    if rng.random() < 0.75:
        tall, foot = rng.uniform(0.1, 0.26), roof + shape.crown * 0.5
        mast = blob((rear_top + 0.2, 0, foot + tall / 2), (0.011, 0.011, tall / 2), Material.TRIM, points=6)
        parts.append(lean(mast, rng.uniform(0.3, 0.8), foot))
    rails = {"SUV": 0.75, "Wagon": 0.7, "Van": 0.3, "Hatchback": 0.15}.get(shape.body, 0)
    if rng.random() < rails:
        half, material = (top - rear_top) / 2 - 0.12, Material.CHROME if rng.random() < 0.5 else Material.TRIM
        centre = (top + rear_top) / 2
        for side in (1, -1):
            parts.append(blob((centre, side * (narrow - 0.1), roof + 0.045), (half, 0.022, 0.02), material))
            for x in (centre - half * 0.85, centre, centre + half * 0.85):
                parts.append(blob((x, side * (narrow - 0.1), roof + 0.02), (0.05, 0.018, 0.03), material))
    if rng.random() < {"Coupe": 0.6, "Hatchback": 0.6, "Sedan": 0.25, "SUV": 0.4, "Wagon": 0.3}.get(
        shape.body, 0
    ):
        parts += _spoiler(shape)
    return parts


def _spoiler(shape: Proportions) -> list[Mesh]:
    if shape.body in ("Sedan", "Coupe"):
        x, z, wide = -shape.length / 2 + 0.22, shape.edge[2] + 0.1, shape.width / 2 - 0.16
        feet = [
            blob((x, side * wide * 0.7, z - 0.06), (0.05, 0.02, 0.07), Material.PAINT) for side in (1, -1)
        ]
        return [blob((x, 0, z), (0.1, wide, 0.018), Material.PAINT, squareness=4), *feet]
    x, z = shape.cabin[2] - 0.06, shape.glass_heights[1] - 0.015
    return [blob((x, 0, z), (0.16, shape.cabin_widths[1] - 0.08, 0.025), Material.ACCENT, squareness=4)]
