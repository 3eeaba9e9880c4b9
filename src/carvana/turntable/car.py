"""One car: its meshes, textures and materials."""

from dataclasses import dataclass

import numpy as np

from carvana.turntable.car_textures import paint_textures
from carvana.turntable.dimensions import CarDimensions, sample_dimensions
from carvana.turntable.materials import Material, MaterialTable, sample_materials
from carvana.turntable.mesh import (
    NO_TEXTURE,
    Mesh,
    interpolate,
    shear,
    superellipse,
    superellipsoid,
    textured_mesh,
)
from carvana.turntable.textures import PROJECTION_AXES, TextureId, sample_textures

_ROOF_RAILS_SHARE = {"SUV": 0.75, "Wagon": 0.7, "Van": 0.3, "Hatchback": 0.15}
_SPOILER_SHARE = {"Coupe": 0.6, "Hatchback": 0.6, "Sedan": 0.25, "SUV": 0.4, "Wagon": 0.3}


@dataclass(frozen=True)
class Car:
    """A car to render.

    `shell` holds body and cabin, which windows and wheel arches are cut into; `wheels` and `interior` are
    visible through them; `attachments` are mounted on the shell. `textures` (textures, height, width) uint8
    holds material ids at `pixels_per_metre`.
    """

    dimensions: CarDimensions
    shell: tuple[Mesh, ...]
    wheels: tuple[Mesh, ...]
    interior: tuple[Mesh, ...]
    attachments: tuple[Mesh, ...]
    textures: np.ndarray
    pixels_per_metre: float
    materials: MaterialTable

    def material_ids(self, mesh: Mesh, faces: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        """Return the material ids (N,) uint8 of surface points.

        Args:
            mesh: a mesh of this car.
            faces: (N,) the face of each point.
            barycentric: (3, N) or (3, 1), the points' barycentric coordinates.
        """
        texture_ids = mesh.texture_ids[faces]
        uv = interpolate(barycentric, mesh.uv, faces)
        sampled = sample_textures(self.textures, np.maximum(texture_ids, 0), uv, self.pixels_per_metre)
        return np.where(texture_ids == NO_TEXTURE, mesh.material_ids[faces], sampled)


def build_car(index: int, rng: np.random.Generator, pixels_per_metre: float) -> Car:
    """Build car `index`, which selects body type and paint, with all else drawn from `rng`.

    `pixels_per_metre` is the resolution of the textures.
    """
    dimensions = sample_dimensions(index, rng)
    materials = sample_materials(index, rng)
    return Car(
        dimensions=dimensions,
        shell=(_body(dimensions), _cabin(dimensions)),
        wheels=tuple(_wheels(dimensions)),
        interior=tuple(_interior(dimensions)),
        attachments=(*_mirrors(dimensions, rng), *_roof_attachments(dimensions, rng)),
        # Last, as the number of random draws in it differs from car to car.
        textures=paint_textures(dimensions, rng, pixels_per_metre),
        pixels_per_metre=pixels_per_metre,
        materials=materials,
    )


def _shell_mesh(
    rings: list[np.ndarray], plan: np.ndarray, radii: tuple[float, float], n_walls: int, top: TextureId
) -> Mesh:
    """Loft rings, textured FRONT, REAR or SIDE by the walls' direction, and `top` above the lowest `n_walls`."""
    middle = (plan + np.roll(plan, -1, axis=0)) / 2
    edge = np.roll(plan, -1, axis=0) - plan
    forward, sideways = edge[:, 1] * radii[1], -edge[:, 0] * radii[0]
    walls = np.where(
        np.abs(sideways) > np.abs(forward),
        TextureId.SIDE,
        np.where(middle[:, 0] > 0, TextureId.FRONT, TextureId.REAR),
    )
    quad_textures = np.full((len(rings) - 1, len(plan)), int(top))
    quad_textures[:n_walls] = walls
    return textured_mesh(np.array(rings), quad_textures, PROJECTION_AXES, (0, 0, 0))


def _body(dimensions: CarDimensions) -> Mesh:
    """Build the lower body: walls from sill to shoulder, a rounded edge, then bonnet and boot."""
    half_length, half_width, bevel = dimensions.length / 2, dimensions.width / 2, 0.085
    plan = superellipse(96, dimensions.plan_exponent, half_length / half_width)
    rings = []
    # Walls, bottom to top: share of the height, inset along the car, inset across it.
    profile = [(0, 0.13, 0.10), (0.06, 0.06, 0.05), (0.16, 0.015, 0.012), (0.3, 0, 0), (0.45, 0.0, 0),
               (0.58, 0.02, 0.006), (0.68, 0.035, 0.0), (0.79, 0.05, 0.012)]  # fmt: skip
    for share, inset_x, inset_y in profile:
        x, y = plan[:, 0] * (half_length - inset_x), plan[:, 1] * (half_width - inset_y)
        sill = dimensions.sill_height(x)
        rings.append(np.stack([x, y, sill + share * (dimensions.shoulder_height(x) - sill)], axis=1))
    for angle in np.linspace(0.15, 1, 5) * np.pi / 2:
        inset = bevel * (1 - np.cos(angle))
        x, y = plan[:, 0] * (half_length - 0.05 - inset), plan[:, 1] * (half_width - 0.012 - inset)
        shoulder = dimensions.shoulder_height(x)
        edge_height = 0.2 * (shoulder - dimensions.sill_height(x))
        rings.append(np.stack([x, y, shoulder - edge_height * (1 - np.sin(angle))], axis=1))
    for share in (0.9, 0.7, 0.35, 0.0):
        x = plan[:, 0] * (half_length - 0.05 - bevel - 0.05 * (1 - share))
        y = plan[:, 1] * (half_width - 0.012 - bevel) * share
        rings.append(np.stack([x, y, dimensions.shoulder_height(x) + 0.04 * (1 - share**2)], axis=1))
    return _shell_mesh(rings, plan, (half_length, half_width), len(profile) + 3, TextureId.DECK)


def _cabin(dimensions: CarDimensions) -> Mesh:
    """Build the cabin: window walls that lean in, a rounded roof edge, a crowned roof."""
    (base, roof), (base_half, roof_half) = dimensions.cabin_heights, dimensions.cabin_half_widths
    front_base, front_top, rear_top, rear_base = dimensions.cabin
    radii = (front_base - rear_base) / 2, base_half
    plan = superellipse(80, max(4.0, dimensions.plan_exponent - 0.5), radii[0] / radii[1])
    bevel = 0.09
    # Walls, bottom to top: share of the height, inset of the roof's edge.
    profile = [(share, 0.0) for share in (0, 0.2, 0.4, 0.6, 0.8, 0.93)]
    profile += [
        (0.93 + 0.07 * np.sin(angle), bevel * (1 - np.cos(angle)))
        for angle in np.linspace(0.2, 1, 5) * np.pi / 2
    ]
    rings = []
    for share, inset in profile:
        front, rear = (
            front_base + share * (front_top - front_base),
            rear_base + share * (rear_top - rear_base),
        )
        bulge = 0.035 * 4 * share * (1 - share)  # windows are slightly convex
        x = (front + rear) / 2 + plan[:, 0] * ((front - rear) / 2 - inset + bulge)
        y = plan[:, 1] * (base_half + share * (roof_half - base_half) - inset + bulge * 0.6)
        rings.append(np.stack([x, y, np.full_like(x, base + share * (roof - base))], axis=1))
    x, y = rings[-1][:, 0], rings[-1][:, 1]
    centred = x - x.mean()
    for share in (0.9, 0.7, 0.4, 0.0):
        lift = dimensions.roof_crown * (1 - share**2) * (1 - 0.8 * (centred / np.abs(centred).max()) ** 2)
        rings.append(np.stack([x, y * share, roof + lift], axis=1))
    return _shell_mesh(rings, plan, radii, len(profile) - 3, TextureId.ROOF)


def _wheels(dimensions: CarDimensions) -> list[Mesh]:
    """Build four wheels: a tyre's sidewalls and tread, then a rim that is recessed toward its hub."""
    wheel = dimensions.wheel_radius
    half_width = 0.105 + 0.06 * (wheel - 0.29)
    # Share of the radius, position across the tyre from -1 (inside) to 1 (outside).
    profile = [(0.0, -1), (0.9, -1), (1, -0.8), (1, 0.75), (0.94, 0.97), (0.8, 1), (0.72, 0.95), (0.66, 0.72),
               (0.3, 0.62), (0, 0.62)]  # fmt: skip
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    quad_textures = np.full((len(profile) - 1, len(angles)), int(TextureId.WHEEL))
    meshes = []
    for axle in dimensions.axles:
        for side in (1, -1):
            hub = np.array([axle, side * (dimensions.width / 2 - half_width - 0.02), wheel])
            rings = np.empty((len(profile), len(angles), 3))
            for ring, (share, across) in zip(rings, profile, strict=True):
                ring[:, 0], ring[:, 2] = share * wheel * np.cos(angles), share * wheel * np.sin(angles)
                ring[:, 1] = side * across * half_width
            meshes.append(textured_mesh(rings + hub, quad_textures, PROJECTION_AXES, hub))
    return meshes


def _interior(dimensions: CarDimensions) -> list[Mesh]:
    """Build a dark underbody, which also fills the wheel arches, a dashboard, and seats with headrests."""
    belt, half_width = dimensions.beltline, dimensions.width / 2
    front, rear = dimensions.cabin.windscreen_base, dimensions.cabin.rear_window_base
    underbody = superellipsoid(
        (0, 0, dimensions.ground_clearance + 0.02 + 0.24),
        (dimensions.length / 2 - 0.25, half_width - 0.27, 0.24),
        Material.UNDERBODY,
        exponent=8,
        n_points=48,
    )
    dashboard = superellipsoid(
        (front - 0.3, 0, belt - 0.04), (0.22, half_width - 0.15, 0.09), Material.INTERIOR, exponent=4
    )
    meshes = [underbody, dashboard]
    for x in (front - 1.15, front - 2.0):
        if x <= rear + 0.25:
            continue
        for y in (-0.37, 0.37):
            meshes.append(superellipsoid((x, y, belt - 0.12), (0.09, 0.24, 0.26), Material.INTERIOR))
            meshes.append(superellipsoid((x - 0.04, y, belt + 0.2), (0.05, 0.13, 0.09), Material.INTERIOR))
    return meshes


def _mirrors(dimensions: CarDimensions, rng: np.random.Generator) -> list[Mesh]:
    """Build two wing mirrors, each a housing on an arm."""
    radii = np.array([0.07, 0.11, 0.075]) * rng.uniform(0.9, 1.25)
    material = Material.ACCENT if rng.random() < 0.75 else Material.TRIM
    x, z = dimensions.cabin_extent(dimensions.beltline + 0.1)[0] - 0.3, dimensions.beltline + 0.09
    y, arm_y = dimensions.width / 2 + radii[1] * 0.75, dimensions.width / 2 - 0.04
    meshes = []
    for side in (1, -1):
        meshes.append(superellipsoid((x, side * y, z), radii, material, exponent=2.6))
        meshes.append(superellipsoid((x, side * arm_y, z - 0.06), (0.03, 0.09, 0.022), Material.TRIM))
    return meshes


def _roof_attachments(dimensions: CarDimensions, rng: np.random.Generator) -> list[Mesh]:
    """Build what stands on some cars' roof or boot: an antenna, roof rails, a spoiler."""
    meshes = []
    if rng.random() < 0.75:
        meshes.append(_antenna(dimensions, rng))
    if rng.random() < _ROOF_RAILS_SHARE.get(dimensions.body_type, 0):
        meshes += _roof_rails(dimensions, Material.CHROME if rng.random() < 0.5 else Material.TRIM)
    if rng.random() < _SPOILER_SHARE.get(dimensions.body_type, 0):
        meshes += _spoiler(dimensions)
    return meshes


def _antenna(dimensions: CarDimensions, rng: np.random.Generator) -> Mesh:
    height = rng.uniform(0.1, 0.26)
    base = dimensions.cabin_heights[1] + dimensions.roof_crown * 0.5
    centre = dimensions.cabin.rear_window_top + 0.2, 0, base + height / 2
    mast = superellipsoid(centre, (0.011, 0.011, height / 2), Material.TRIM, n_points=6)
    return shear(mast, rng.uniform(0.3, 0.8), base)


def _roof_rails(dimensions: CarDimensions, material: Material) -> list[Mesh]:
    """Build two rails along the roof, each on three feet."""
    front, rear = dimensions.cabin.windscreen_top, dimensions.cabin.rear_window_top
    roof, y = dimensions.cabin_heights[1], dimensions.cabin_half_widths[1] - 0.1
    centre, half = (front + rear) / 2, (front - rear) / 2 - 0.12
    meshes = []
    for side in (1, -1):
        meshes.append(superellipsoid((centre, side * y, roof + 0.045), (half, 0.022, 0.02), material))
        for x in (centre - half * 0.85, centre, centre + half * 0.85):
            meshes.append(superellipsoid((x, side * y, roof + 0.02), (0.05, 0.018, 0.03), material))
    return meshes


def _spoiler(dimensions: CarDimensions) -> list[Mesh]:
    """Build a spoiler: on two feet on the boot where there is one, else at the roof's rear edge."""
    if dimensions.body_type not in ("Sedan", "Coupe"):
        x, z = dimensions.cabin.rear_window_top - 0.06, dimensions.cabin_heights[1] - 0.015
        radii = 0.16, dimensions.cabin_half_widths[1] - 0.08, 0.025
        return [superellipsoid((x, 0, z), radii, Material.ACCENT, exponent=4)]
    x, z = -dimensions.length / 2 + 0.22, dimensions.tail_height + 0.1
    half_width = dimensions.width / 2 - 0.16
    meshes = [superellipsoid((x, 0, z), (0.1, half_width, 0.018), Material.PAINT, exponent=4)]
    for side in (1, -1):
        foot = x, side * half_width * 0.7, z - 0.06
        meshes.append(superellipsoid(foot, (0.05, 0.02, 0.07), Material.PAINT))
    return meshes
