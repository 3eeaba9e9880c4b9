"""What is drawn on a car's sheets: windows, doors, lamps, grille, plates, wheel arches, rims."""

import numpy as np

from carvana.turntable.dimensions import Proportions
from carvana.turntable.materials import Material
from carvana.turntable.textures import Sheet, Side
from carvana.turntable.windows import Windows, draw_screen

M = Material  # it stands on nearly every line here


def draw_sheets(shape: Proportions, rng: np.random.Generator, scale: float) -> np.ndarray:
    """The sheets of one car, (sheets, height, width) uint8 material codes at `scale` pixels a metre."""
    grounds = {side: M.PAINT for side in Side} | {Side.ROOF: M.ACCENT, Side.WHEEL: M.TYRE}
    boards = {side: Sheet(scale, ground) for side, ground in grounds.items()}
    windows = Windows(shape, rng)
    _flank(boards[Side.FLANK], shape, windows, rng)
    _front(boards[Side.FRONT], shape, rng)
    _rear(boards[Side.REAR], shape, rng)
    _deck(boards[Side.DECK], shape)
    _roof(boards[Side.ROOF], shape, rng)
    _wheel(boards[Side.WHEEL], shape, rng)
    return np.stack([boards[side].code for side in Side])


def _flank(board: Sheet, shape: Proportions, windows: Windows, rng: np.random.Generator) -> None:
    half, belt = shape.length / 2, shape.edge[1]
    _doors(board, shape, windows, rng)
    frame, grow = (M.TRIM, 0.03) if rng.random() < 0.7 else (M.CHROME, 0.018)
    # A cargo van has windows in its front doors only.
    shown = 1 if shape.body == "Van" and rng.random() < 0.4 else shape.kind.windows
    for pane in windows.panes(grow)[:shown]:
        board.fill(pane, frame)
    for number, pane in enumerate(windows.panes(0)[:shown]):
        board.fill(pane, M.PRIVACY if number else M.GLASS)
    nose, tail = shape.edge[0], shape.edge[2]
    reach = rng.uniform(0.2, 0.36)
    board.fill([(half, nose - 0.24), (half, nose - 0.02), (half - reach - 0.02, nose - 0.02)], M.TRIM)
    board.fill([(half, nose - 0.22), (half, nose - 0.04), (half - reach, nose - 0.04)], M.HEADLAMP)
    depth = rng.uniform(0.12, 0.3)
    board.fill([(-half, tail - 0.24), (-half, tail - 0.07), (-half + depth, tail - 0.09)], M.TAILLAMP)
    board.box(half - 0.5, half - 0.44, 0.5, 0.525, M.AMBER)
    board.oval((-half + 0.75, belt - 0.16), (0.085, 0.085), M.SEAM)
    board.oval((-half + 0.75, belt - 0.16), (0.07, 0.07), M.PAINT)
    cladding = shape.body in ("SUV", "Pickup", "Wagon") and rng.random() < 0.55
    if cladding or rng.random() < 0.4:
        board.box(-3, 3, 0, shape.clearance + rng.uniform(0.05, 0.14), M.TRIM)
    gap = rng.uniform(0.045, 0.07)
    for axle in shape.axles:
        if cladding:
            board.oval((axle, shape.wheel), (shape.wheel + gap + 0.07,) * 2, M.TRIM)
        else:
            board.oval((axle, shape.wheel), (shape.wheel + gap + 0.015,) * 2, M.SEAM)
        board.oval((axle, shape.wheel), (shape.wheel + gap,) * 2, M.HOLE)
        board.box(axle - shape.wheel - gap, axle + shape.wheel + gap, 0, shape.wheel, M.HOLE)


def _doors(board: Sheet, shape: Proportions, windows: Windows, rng: np.random.Generator) -> None:
    belt, sill = shape.edge[1], shape.clearance + 0.1
    front = min(windows.ends(windows.low)[0] - 0.05, shape.axles[0] - shape.wheel - 0.12)
    end = max(windows.ends(windows.low)[1], shape.axles[1] + 0.12)
    posts = [post for post in windows.posts if post > end + 0.3][: shape.kind.doors // 2 - 1]
    edges = [front, *posts, end]
    board.line([(front, sill), (end + 0.28, sill)], M.SEAM)
    for edge in edges[:-1]:
        board.line([(edge, belt), (edge + 0.015, sill + 0.3), (edge, sill)], M.SEAM)
    arch = (end + shape.wheel * 0.75, shape.wheel * 1.7)
    board.line([(end, windows.high), (end, belt - 0.1), arch, (end + 0.28, sill)], M.SEAM)
    crease = belt - rng.uniform(0.14, 0.24)
    board.line([(shape.axles[1], crease + 0.02), (shape.axles[0], crease - 0.04)], M.SEAM, 0.006)
    handle = M.CHROME if rng.random() < 0.4 else M.PAINT
    for edge in edges[1:]:
        board.box(edge + 0.07, edge + 0.27, belt - 0.125, belt - 0.075, M.SEAM)
        board.box(edge + 0.08, edge + 0.26, belt - 0.11, belt - 0.075, handle)
    half = shape.length / 2
    board.line([(half - 0.42, 0.2), (half - 0.36, shape.edge[0] - 0.1)], M.SEAM)
    board.line([(-half + 0.36, 0.2), (-half + 0.3, shape.edge[2] - 0.24)], M.SEAM)


def _front(board: Sheet, shape: Proportions, rng: np.random.Generator) -> None:
    half, nose, sill = shape.width / 2, shape.edge[0], shape.clearance
    draw_screen(board, shape, shape.edge[1] + 0.05, M.GLASS)
    wide, tall = rng.uniform(0.4, 0.6) * half, rng.uniform(0.12, 0.2)
    top = nose - rng.uniform(0.05, 0.09)
    board.fill([(-wide, top), (wide, top), (wide * 0.85, top - tall), (-wide * 0.85, top - tall)], M.CHROME)
    board.fill(
        [(-wide + 0.02, top - 0.015), (wide - 0.02, top - 0.015),
         (wide * 0.85 - 0.015, top - tall + 0.015), (-wide * 0.85 + 0.015, top - tall + 0.015)],
        M.GRILLE,
    )  # fmt: skip
    for bar in np.linspace(top - tall, top, int(rng.integers(1, 5)) + 2)[1:-1]:
        board.line([(-wide * 0.88, bar), (wide * 0.88, bar)], M.CHROME, 0.014)
    board.oval((0, top - tall / 2), (0.055, 0.055), M.CHROME)
    inner, drop = wide + 0.06, rng.uniform(0.11, 0.17)
    for grow, material in ((0.02, M.TRIM), (0, M.HEADLAMP)):
        top, low = nose - 0.07 + grow, nose - 0.07 - drop - grow
        board.both([(inner - grow, top - 0.05), (half, top), (half, low), (inner - grow, low)], material)
    bulb = (inner + half) / 2, nose - 0.085 - drop / 2
    for x in (bulb[0], -bulb[0]):
        board.oval((x, bulb[1]), (drop * 0.42,) * 2, M.TRIM)
        board.oval((x, bulb[1]), (drop * 0.33,) * 2, M.CHROME)
    board.both([(half - 0.12, nose - 0.1), (half, nose - 0.08), (half, nose - 0.13)], M.AMBER)
    mouth = rng.uniform(0.45, 0.7) * half
    board.box(-mouth, mouth, sill + 0.13, sill + 0.13 + rng.uniform(0.06, 0.12), M.GRILLE)
    board.both(
        [
            (half * 0.72, sill + 0.14),
            (half * 0.9, sill + 0.14),
            (half * 0.88, sill + 0.24),
            (half * 0.74, sill + 0.22),
        ],
        M.GRILLE,
    )
    board.oval((half * 0.81, sill + 0.19), (0.04, 0.04), M.HEADLAMP)
    board.oval((-half * 0.81, sill + 0.19), (0.04, 0.04), M.HEADLAMP)
    board.box(-1.2, 1.2, 0, sill + 0.05, M.TRIM)
    _plate(board, sill + 0.25)


def _rear(board: Sheet, shape: Proportions, rng: np.random.Generator) -> None:
    half, tail, low = shape.width / 2, shape.edge[2], shape.clearance
    draw_screen(board, shape, shape.edge[1] + 0.07, M.PRIVACY)
    inner, drop = half * rng.uniform(0.5, 0.75), rng.uniform(0.15, 0.3)
    board.both(
        [
            (inner, tail - 0.08),
            (half, tail - 0.06),
            (half, tail - 0.08 - drop),
            (inner + 0.05, tail - 0.05 - drop),
        ],
        M.TAILLAMP,
    )
    board.both(
        [(inner + 0.08, tail - 0.14), (half, tail - 0.13), (half, tail - 0.17), (inner + 0.08, tail - 0.17)],
        M.HEADLAMP,
    )
    seam = low + 0.3
    board.line([(-half, seam), (half, seam)], M.SEAM)
    board.line([(-inner + 0.02, tail), (-inner + 0.04, seam)], M.SEAM)
    board.line([(inner - 0.02, tail), (inner - 0.04, seam)], M.SEAM)
    board.box(-1.2, 1.2, 0, low + rng.uniform(0.06, 0.16), M.TRIM)
    board.box(-0.28, 0.28, tail - 0.13, tail - 0.09, M.CHROME)
    board.box(-0.12, 0.12, shape.glass_heights[1] - 0.06, shape.glass_heights[1] - 0.04, M.TAILLAMP)
    board.both(
        [
            (half * 0.75, low + 0.2),
            (half * 0.92, low + 0.2),
            (half * 0.92, low + 0.23),
            (half * 0.75, low + 0.23),
        ],
        M.TAILLAMP,
    )
    _plate(board, max(low + 0.34, tail - 0.28))


def _plate(board: Sheet, low: float) -> None:
    board.box(-0.17, 0.17, low - 0.01, low + 0.15, M.TRIM)
    board.box(-0.155, 0.155, low, low + 0.14, M.PLATE)
    for x in np.linspace(-0.12, 0.12, 6):
        board.box(x - 0.012, x + 0.012, low + 0.04, low + 0.1, M.TRIM)


def _deck(board: Sheet, shape: Proportions) -> None:
    half, half_width = shape.length / 2, shape.width / 2
    front, rear = shape.cabin[0], shape.cabin[3]
    board.line([(front, half_width * 0.8), (half - 0.05, half_width * 0.66)], M.SEAM)
    board.line([(front, -half_width * 0.8), (half - 0.05, -half_width * 0.66)], M.SEAM)
    board.box(front - 0.2, front + 0.06, -half_width * 0.78, half_width * 0.78, M.TRIM)
    if shape.body == "Pickup":
        board.box(-half + 0.1, rear - 0.02, -half_width + 0.13, half_width - 0.13, M.WELL)
    else:
        board.line([(rear - 0.06, -half_width * 0.72), (rear - 0.06, half_width * 0.72)], M.SEAM)
    wide = shape.cabin_widths[0] - 0.05
    board.box(rear + 0.07, front - 0.12, -wide, wide, M.HOLE)


def _roof(board: Sheet, shape: Proportions, rng: np.random.Generator) -> None:
    if rng.random() < 0.3:
        front, half = shape.cabin[1] - 0.2, shape.cabin_widths[1] * 0.62
        board.box(front - 0.75, front, -half, half, M.TRIM)
        board.box(front - 0.72, front - 0.03, -half + 0.03, half - 0.03, M.GRILLE)


def _wheel(board: Sheet, shape: Proportions, rng: np.random.Generator) -> None:
    rim = shape.wheel * rng.uniform(0.66, 0.76)
    board.oval((0, 0), (rim, rim), M.RIM)
    board.oval((0, 0), (rim * 0.92, rim * 0.92), M.WELL)
    spokes, thick = int(rng.integers(5, 11)), rng.uniform(0.25, 0.5)
    for turn in np.arange(spokes) * 2 * np.pi / spokes + rng.uniform(0, 1):
        wide = np.pi / spokes * thick
        foot = [
            (0.25 * rim * np.cos(turn + side), 0.25 * rim * np.sin(turn + side))
            for side in (2 * wide, -2 * wide)
        ]
        tip = [(0.95 * rim * np.cos(turn + side), 0.95 * rim * np.sin(turn + side)) for side in (-wide, wide)]
        board.fill([*foot, *tip], M.RIM)
    board.oval((0, 0), (0.3 * rim, 0.3 * rim), M.RIM)
    board.oval((0, 0), (0.12 * rim, 0.12 * rim), M.CHROME)
