"""Painting of a car's textures: windows, doors, lamps, grille, licence plates, wheel arches, rims."""

import numpy as np

from carvana.turntable.dimensions import CarDimensions
from carvana.turntable.materials import Material
from carvana.turntable.textures import TextureCanvas, TextureId
from carvana.turntable.windows import SideWindows

_END_WINDOW_WIDTH = 0.78
"""Width of windscreen and rear window, in shares of the cabin's width."""


def paint_textures(
    dimensions: CarDimensions, rng: np.random.Generator, pixels_per_metre: float
) -> np.ndarray:
    """Return the textures of one car, (textures, height, width) uint8 material ids, indexed by `TextureId`."""
    backgrounds = {TextureId.ROOF: Material.ACCENT, TextureId.WHEEL: Material.TYRE}
    canvases = {
        texture: TextureCanvas(pixels_per_metre, backgrounds.get(texture, Material.PAINT))
        for texture in TextureId
    }
    _paint_side(canvases[TextureId.SIDE], dimensions, rng)
    _paint_front(canvases[TextureId.FRONT], dimensions, rng)
    _paint_rear(canvases[TextureId.REAR], dimensions, rng)
    _paint_deck(canvases[TextureId.DECK], dimensions)
    _paint_roof(canvases[TextureId.ROOF], dimensions, rng)
    _paint_wheel(canvases[TextureId.WHEEL], dimensions, rng)
    return np.stack([canvases[texture].material_ids for texture in TextureId])


def _paint_side(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> None:
    windows = SideWindows(dimensions, rng)
    _paint_doors(canvas, dimensions, windows, rng)
    _paint_side_windows(canvas, dimensions, windows, rng)
    _paint_side_lamps(canvas, dimensions, rng)
    fuel_cap = -dimensions.length / 2 + 0.75, dimensions.beltline - 0.16
    canvas.circle(fuel_cap, 0.085, Material.SEAM)
    canvas.circle(fuel_cap, 0.07, Material.PAINT)
    _paint_wheel_arches(canvas, dimensions, rng)


def _paint_doors(
    canvas: TextureCanvas, dimensions: CarDimensions, windows: SideWindows, rng: np.random.Generator
) -> None:
    belt, sill = dimensions.beltline, dimensions.ground_clearance + 0.1
    front_axle, rear_axle = dimensions.axles
    front_end, rear_end = windows.extent(windows.bottom)
    front = min(front_end - 0.05, front_axle - dimensions.wheel_radius - 0.12)
    rear = max(rear_end, rear_axle + 0.12)
    pillars = [x for x in windows.pillars if x > rear + 0.3][: dimensions.doors // 2 - 1]
    edges = [front, *pillars, rear]
    canvas.line([(front, sill), (rear + 0.28, sill)], Material.SEAM)
    for x in edges[:-1]:
        canvas.line([(x, belt), (x + 0.015, sill + 0.3), (x, sill)], Material.SEAM)
    around_wheel = (rear + dimensions.wheel_radius * 0.75, dimensions.wheel_radius * 1.7)
    canvas.line([(rear, windows.top), (rear, belt - 0.1), around_wheel, (rear + 0.28, sill)], Material.SEAM)
    crease = belt - rng.uniform(0.14, 0.24)
    canvas.line([(rear_axle, crease + 0.02), (front_axle, crease - 0.04)], Material.SEAM, 0.006)
    handle = Material.CHROME if rng.random() < 0.4 else Material.PAINT
    for x in edges[1:]:
        canvas.rectangle(x + 0.07, x + 0.27, belt - 0.125, belt - 0.075, Material.SEAM)
        canvas.rectangle(x + 0.08, x + 0.26, belt - 0.11, belt - 0.075, handle)
    # Seams of the bumpers.
    nose, tail = dimensions.length / 2, -dimensions.length / 2
    canvas.line([(nose - 0.42, 0.2), (nose - 0.36, dimensions.nose_height - 0.1)], Material.SEAM)
    canvas.line([(tail + 0.36, 0.2), (tail + 0.3, dimensions.tail_height - 0.24)], Material.SEAM)


def _paint_side_windows(
    canvas: TextureCanvas, dimensions: CarDimensions, windows: SideWindows, rng: np.random.Generator
) -> None:
    frame, frame_width = (Material.TRIM, 0.03) if rng.random() < 0.7 else (Material.CHROME, 0.018)
    # A cargo van has windows in its front doors only.
    is_cargo_van = dimensions.body_type == "Van" and rng.random() < 0.4
    n_windows = 1 if is_cargo_van else dimensions.windows_per_side
    for outline in windows.outlines(frame_width)[:n_windows]:
        canvas.polygon(outline, frame)
    for number, outline in enumerate(windows.outlines(0)[:n_windows]):
        canvas.polygon(outline, Material.PRIVACY_GLASS if number else Material.GLASS)


def _paint_side_lamps(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> None:
    nose, tail = dimensions.length / 2, -dimensions.length / 2
    z = dimensions.nose_height
    depth = rng.uniform(0.2, 0.36)
    canvas.polygon([(nose, z - 0.24), (nose, z - 0.02), (nose - depth - 0.02, z - 0.02)], Material.TRIM)
    canvas.polygon([(nose, z - 0.22), (nose, z - 0.04), (nose - depth, z - 0.04)], Material.HEADLAMP)
    z = dimensions.tail_height
    depth = rng.uniform(0.12, 0.3)
    canvas.polygon([(tail, z - 0.24), (tail, z - 0.07), (tail + depth, z - 0.09)], Material.TAILLAMP)
    canvas.rectangle(nose - 0.5, nose - 0.44, 0.5, 0.525, Material.INDICATOR)


def _paint_wheel_arches(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> None:
    has_cladding = dimensions.body_type in ("SUV", "Pickup", "Wagon") and rng.random() < 0.55
    if has_cladding or rng.random() < 0.4:
        canvas.rectangle(-3, 3, 0, dimensions.ground_clearance + rng.uniform(0.05, 0.14), Material.TRIM)
    wheel = dimensions.wheel_radius
    gap = rng.uniform(0.045, 0.07)
    lip, lip_width = (Material.TRIM, 0.07) if has_cladding else (Material.SEAM, 0.015)
    for axle in dimensions.axles:
        canvas.circle((axle, wheel), wheel + gap + lip_width, lip)
        canvas.circle((axle, wheel), wheel + gap, Material.HOLE)
        canvas.rectangle(axle - wheel - gap, axle + wheel + gap, 0, wheel, Material.HOLE)


def _paint_front(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> None:
    half, clearance = dimensions.width / 2, dimensions.ground_clearance
    _paint_end_window(canvas, dimensions, dimensions.beltline + 0.05, Material.GLASS)
    grille_edge = _paint_grille(canvas, dimensions, rng)
    _paint_headlamps(canvas, dimensions, grille_edge + 0.06, rng)
    intake = rng.uniform(0.45, 0.7) * half
    canvas.rectangle(
        -intake, intake, clearance + 0.13, clearance + 0.13 + rng.uniform(0.06, 0.12), Material.GRILLE
    )
    canvas.polygon(
        [
            (half * 0.72, clearance + 0.14),
            (half * 0.9, clearance + 0.14),
            (half * 0.88, clearance + 0.24),
            (half * 0.74, clearance + 0.22),
        ],
        Material.GRILLE,
        mirrored=True,
    )
    fog_lamp = half * 0.81, clearance + 0.19
    canvas.circle(fog_lamp, 0.04, Material.HEADLAMP, mirrored=True)
    _paint_bumper(canvas, trim_top=clearance + 0.05, plate_bottom=clearance + 0.25)


def _paint_grille(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> float:
    """Paint the radiator grille and return its half width."""
    wide, tall = rng.uniform(0.4, 0.6) * (dimensions.width / 2), rng.uniform(0.12, 0.2)
    top = dimensions.nose_height - rng.uniform(0.05, 0.09)
    narrow, bottom = wide * 0.85, top - tall
    canvas.polygon([(-wide, top), (wide, top), (narrow, bottom), (-narrow, bottom)], Material.CHROME)
    wide_inside, narrow_inside = wide - 0.02, narrow - 0.015
    canvas.polygon(
        [
            (-wide_inside, top - 0.015),
            (wide_inside, top - 0.015),
            (narrow_inside, bottom + 0.015),
            (-narrow_inside, bottom + 0.015),
        ],
        Material.GRILLE,
    )
    for z in np.linspace(bottom, top, int(rng.integers(1, 5)) + 2)[1:-1]:
        canvas.line([(-wide * 0.88, z), (wide * 0.88, z)], Material.CHROME, 0.014)
    canvas.circle((0, top - tall / 2), 0.055, Material.CHROME)
    return wide


def _paint_headlamps(
    canvas: TextureCanvas, dimensions: CarDimensions, inner: float, rng: np.random.Generator
) -> None:
    outer, top = dimensions.width / 2, dimensions.nose_height - 0.07
    height = rng.uniform(0.11, 0.17)
    for margin, material in ((0.02, Material.TRIM), (0, Material.HEADLAMP)):
        upper, lower, inside = top + margin, top - height - margin, inner - margin
        canvas.polygon(
            [(inside, upper - 0.05), (outer, upper), (outer, lower), (inside, lower)],
            material,
            mirrored=True,
        )
    bulb = (inner + outer) / 2, dimensions.nose_height - 0.085 - height / 2
    canvas.circle(bulb, height * 0.42, Material.TRIM, mirrored=True)
    canvas.circle(bulb, height * 0.33, Material.CHROME, mirrored=True)
    canvas.polygon(
        [(outer - 0.12, top - 0.03), (outer, top - 0.01), (outer, top - 0.06)],
        Material.INDICATOR,
        mirrored=True,
    )


def _paint_rear(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> None:
    half, tail, clearance = dimensions.width / 2, dimensions.tail_height, dimensions.ground_clearance
    _paint_end_window(canvas, dimensions, dimensions.beltline + 0.07, Material.PRIVACY_GLASS)
    inner, height = half * rng.uniform(0.5, 0.75), rng.uniform(0.15, 0.3)
    canvas.polygon(
        [
            (inner, tail - 0.08),
            (half, tail - 0.06),
            (half, tail - 0.08 - height),
            (inner + 0.05, tail - 0.05 - height),
        ],
        Material.TAILLAMP,
        mirrored=True,
    )
    reversing_lamp = [
        (inner + 0.08, tail - 0.14),
        (half, tail - 0.13),
        (half, tail - 0.17),
        (inner + 0.08, tail - 0.17),
    ]
    canvas.polygon(reversing_lamp, Material.HEADLAMP, mirrored=True)
    bumper = clearance + 0.3
    canvas.line([(-half, bumper), (half, bumper)], Material.SEAM)
    canvas.line([(inner - 0.02, tail), (inner - 0.04, bumper)], Material.SEAM, mirrored=True)
    canvas.rectangle(-0.28, 0.28, tail - 0.13, tail - 0.09, Material.CHROME)
    brake_lamp = dimensions.cabin_heights[1] - 0.06
    canvas.rectangle(-0.12, 0.12, brake_lamp, brake_lamp + 0.02, Material.TAILLAMP)
    canvas.polygon(
        [
            (half * 0.75, clearance + 0.2),
            (half * 0.92, clearance + 0.2),
            (half * 0.92, clearance + 0.23),
            (half * 0.75, clearance + 0.23),
        ],
        Material.TAILLAMP,
        mirrored=True,
    )
    _paint_bumper(
        canvas,
        trim_top=clearance + rng.uniform(0.06, 0.16),
        plate_bottom=max(clearance + 0.34, tail - 0.28),
    )


def _paint_end_window(
    canvas: TextureCanvas, dimensions: CarDimensions, bottom: float, glass: Material
) -> None:
    """Paint the windscreen or the rear window, from height `bottom` to below the roof's edge, in a dark frame."""
    for margin, material in ((0.03, Material.TRIM), (0.0, glass)):
        lower, upper = bottom - margin, dimensions.cabin_heights[1] - 0.085 + margin
        lower_half, upper_half = (
            dimensions.cabin_half_width(z) * _END_WINDOW_WIDTH + margin for z in (lower, upper)
        )
        canvas.polygon(
            [(-lower_half, lower), (lower_half, lower), (upper_half, upper), (-upper_half, upper)], material
        )


def _paint_bumper(canvas: TextureCanvas, trim_top: float, plate_bottom: float) -> None:
    """Paint a bumper's trim, from the ground to height `trim_top`, and a licence plate."""
    canvas.rectangle(-1.2, 1.2, 0, trim_top, Material.TRIM)
    canvas.rectangle(-0.17, 0.17, plate_bottom - 0.01, plate_bottom + 0.15, Material.TRIM)
    canvas.rectangle(-0.155, 0.155, plate_bottom, plate_bottom + 0.14, Material.LICENCE_PLATE)
    for x in np.linspace(-0.12, 0.12, 6):
        canvas.rectangle(x - 0.012, x + 0.012, plate_bottom + 0.04, plate_bottom + 0.1, Material.TRIM)


def _paint_deck(canvas: TextureCanvas, dimensions: CarDimensions) -> None:
    half_length, half_width = dimensions.length / 2, dimensions.width / 2
    front, rear = dimensions.cabin.windscreen_base, dimensions.cabin.rear_window_base
    for side in (1, -1):
        bonnet_edge = [(front, side * half_width * 0.8), (half_length - 0.05, side * half_width * 0.66)]
        canvas.line(bonnet_edge, Material.SEAM)
    canvas.rectangle(front - 0.2, front + 0.06, -half_width * 0.78, half_width * 0.78, Material.TRIM)
    if dimensions.body_type == "Pickup":
        canvas.rectangle(
            -half_length + 0.1, rear - 0.02, -half_width + 0.13, half_width - 0.13, Material.UNDERBODY
        )
    else:
        canvas.line([(rear - 0.06, -half_width * 0.72), (rear - 0.06, half_width * 0.72)], Material.SEAM)
    cabin_half = dimensions.cabin_half_widths[0] - 0.05
    canvas.rectangle(rear + 0.07, front - 0.12, -cabin_half, cabin_half, Material.HOLE)


def _paint_roof(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> None:
    """Paint a sunroof on some cars."""
    if rng.random() < 0.3:
        front, half = dimensions.cabin.windscreen_top - 0.2, dimensions.cabin_half_widths[1] * 0.62
        canvas.rectangle(front - 0.75, front, -half, half, Material.TRIM)
        canvas.rectangle(front - 0.72, front - 0.03, -half + 0.03, half - 0.03, Material.GRILLE)


def _paint_wheel(canvas: TextureCanvas, dimensions: CarDimensions, rng: np.random.Generator) -> None:
    rim = dimensions.wheel_radius * rng.uniform(0.66, 0.76)
    canvas.circle((0, 0), rim, Material.RIM)
    canvas.circle((0, 0), rim * 0.92, Material.UNDERBODY)
    n_spokes, share = int(rng.integers(5, 11)), rng.uniform(0.25, 0.5)
    half_width = np.pi / n_spokes * share  # an angle
    for angle in np.arange(n_spokes) * 2 * np.pi / n_spokes + rng.uniform(0, 1):
        corners = [
            (0.25 * rim, angle + 2 * half_width),
            (0.25 * rim, angle - 2 * half_width),
            (0.95 * rim, angle - half_width),
            (0.95 * rim, angle + half_width),
        ]
        canvas.polygon(
            [(radius * np.cos(turn), radius * np.sin(turn)) for radius, turn in corners], Material.RIM
        )
    canvas.circle((0, 0), 0.3 * rim, Material.RIM)
    canvas.circle((0, 0), 0.12 * rim, Material.CHROME)
