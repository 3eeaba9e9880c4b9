"""Scene: a car on the turntable of a studio, with a camera in front of it."""

from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from carvana.turntable.camera import Camera, sample_camera
from carvana.turntable.car import Car, build_car
from carvana.turntable.ground_plane import bake_shadow_map
from carvana.turntable.mesh import Mesh, merge
from carvana.turntable.studio import Studio, render_background, sample_studio

SUPERSAMPLING = 2
"""Samples per pixel of the car, in each direction."""


class PartKind(Enum):
    """Visibility of a part of a car."""

    SHELL = auto()
    """Visible from outside, and from inside through its windows and wheel arches."""
    INTERIOR = auto()
    """Visible through the shell only."""
    ATTACHMENT = auto()
    """Visible from outside."""


@dataclass(frozen=True)
class Scene:
    """All that the views of one car have in common."""

    car: Car
    mesh: Mesh
    """The whole car."""
    parts: tuple[tuple[PartKind, np.ndarray], ...]
    """Kind and faces (indices into `mesh`) of each part of the car."""
    studio: Studio
    camera: Camera
    background: np.ndarray
    """The empty studio, (height, width, 3) float32 in about 0..1."""
    shadow_map: np.ndarray
    """Shadow map of the floor, from `bake_shadow_map`."""
    mirrored_mesh: Mesh
    """Shell and wheels with heights negated, for the floor's reflection."""
    mirrored_colours: np.ndarray
    """(F, 3) float32, albedo of the faces of `mirrored_mesh`."""


def build_scene(index: int, size: tuple[int, int], rng: np.random.Generator) -> Scene:
    """Build the scene of car `index` in a studio of its own.

    Args:
        index: selects body type and paint.
        size: (height, width) of the views in pixels.
        rng: source of all else.
    """
    car_rng, studio_rng, camera_rng, background_rng = rng.spawn(4)
    car = build_car(index, car_rng, pixels_per_metre=max(60.0, size[1] * SUPERSAMPLING / 6))
    studio = sample_studio(studio_rng)
    camera = sample_camera(size, car.dimensions.length, camera_rng)
    parts = [
        *((PartKind.SHELL, mesh) for mesh in car.shell),
        *((PartKind.INTERIOR, mesh) for mesh in (*car.wheels, *car.interior)),
        *((PartKind.ATTACHMENT, mesh) for mesh in car.attachments),
    ]
    ends = np.cumsum([len(mesh.faces) for _, mesh in parts])
    reflected = merge((*car.shell, *car.wheels))
    reflected_faces = np.arange(len(reflected.faces))
    centroid = np.full((3, 1), 1 / 3)
    return Scene(
        car=car,
        mesh=merge([mesh for _, mesh in parts]),
        parts=tuple(
            (kind, np.arange(end - len(mesh.faces), end))
            for (kind, mesh), end in zip(parts, ends, strict=True)
        ),
        studio=studio,
        camera=camera,
        background=render_background(studio, camera, background_rng),
        shadow_map=bake_shadow_map(car.dimensions, studio.shadow_strength),
        mirrored_mesh=replace(reflected, vertices=reflected.vertices * np.array([1, 1, -1], np.float32)),
        mirrored_colours=car.materials.albedo[car.material_ids(reflected, reflected_faces, centroid)],
    )
