"""Renderer: the photo and the mask of a scene, from any angle of the turntable."""

from dataclasses import dataclass

import cv2
import numpy as np

from carvana.turntable.camera import transform, turntable_rotation
from carvana.turntable.ground_plane import project_shadow_map, render_reflection
from carvana.turntable.materials import Material
from carvana.turntable.mesh import interpolate
from carvana.turntable.rasterizer import ProjectedMesh, ZBuffer
from carvana.turntable.scene import SUPERSAMPLING, PartKind, Scene
from carvana.turntable.shading import normalize, shade

_CHUNK = 32768  # pixels that are shaded at a time, so that intermediate results stay in the CPU's cache


@dataclass(frozen=True)
class Layers:
    """A view before it is exposed. The car's colours times its coverage are `image - (1 - coverage) * studio`."""

    image: np.ndarray
    """The car in the studio, (height, width, 3), float32, about 0..1."""
    coverage: np.ndarray
    """Share of each pixel that the car covers, (height, width), float32, 0..1."""
    studio: np.ndarray
    """The studio without the car, with its shadow and reflection, as `image`."""


def render_view(
    scene: Scene, angle: int, n_angles: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Render one view of a scene.

    Args:
        scene: the car in its studio.
        angle: position of the turntable, 1..`n_angles`.
        n_angles: number of positions in a full turn.
        rng: source of exposure, vignetting and noise.

    Returns:
        The photo (height, width, 3) uint8 and its mask (height, width) bool.
    """
    layers = render_layers(scene, angle, n_angles)
    return _expose(layers.image, scene.studio.vignette, rng), layers.coverage >= 0.5


def render_layers(scene: Scene, angle: int, n_angles: int) -> Layers:
    """Render one view of a scene without exposure and noise; the arguments are those of `render_view`."""
    rotation = turntable_rotation(angle, n_angles)
    studio = _render_studio(scene, rotation)
    return Layers(*_render_car(scene, rotation, studio), studio)


def _render_studio(scene: Scene, rotation: np.ndarray) -> np.ndarray:
    """Render the studio with the car's shadow and reflection on the floor, (height, width, 3) float32."""
    light = project_shadow_map(scene.shadow_map, scene.camera, rotation)
    mirrored = ProjectedMesh(scene.mirrored_mesh, scene.camera, rotation)
    reflection = render_reflection(mirrored, scene.mirrored_colours)
    reflectance = scene.studio.floor_reflectance
    studio = scene.background * (1 - reflectance * reflection[..., 3:])
    return (studio + reflectance * 0.8 * reflection[..., :3]) * light[..., None]


def _render_car(scene: Scene, rotation: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Render the car over `background` (height, width, 3) float32.

    Returns:
        The image, as `background`, and the share of each pixel that the car covers, (height, width) float32.
    """
    camera = scene.camera
    pixels = camera.project(camera.to_camera(transform(rotation, scene.mesh.vertices.T).T))
    left, top = np.clip(np.floor(pixels.min(axis=0)).astype(int) - 1, 0, None).tolist()
    right, bottom = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, camera.size[::-1]).tolist()
    window, window_size = (slice(top, bottom), slice(left, right)), (bottom - top, right - left)
    fine_camera = camera.cropped(top, left, window_size).supersampled(SUPERSAMPLING)
    projected = ProjectedMesh(scene.mesh, fine_camera, rotation)
    fine_image = background[window].repeat(SUPERSAMPLING, axis=0).repeat(SUPERSAMPLING, axis=1)
    fine_image = fine_image.transpose(2, 0, 1).copy()
    fine_coverage = _composite(scene, fine_image.reshape(3, -1), *_depth_layers(scene, projected))
    image, coverage = background.copy(), np.zeros(camera.size, dtype=np.float32)
    for channel in range(3):
        image[window][..., channel] = _downsample(fine_image[channel], window_size)
    coverage[window] = _downsample(fine_coverage.reshape(fine_camera.size), window_size)
    return image, coverage


def _downsample(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def _depth_layers(scene: Scene, projected: ProjectedMesh) -> tuple[ZBuffer, ZBuffer]:
    """Rasterize the surfaces visible from outside, and those visible through transparent ones."""
    front, behind = ZBuffer(projected), ZBuffer(projected)
    for kind, faces in scene.parts:
        layer = behind if kind is PartKind.INTERIOR else front
        layer.rasterize(faces[projected.front_facing[faces]])
        if kind is PartKind.SHELL:
            behind.rasterize(faces[projected.back_facing[faces]])
    return front, behind


def _composite(scene: Scene, image: np.ndarray, front: ZBuffer, behind: ZBuffer) -> np.ndarray:
    """Composite both layers over `image` (3, pixels) in place; return 1.0 where a pixel is car, (pixels,)."""
    coverage = np.zeros(image.shape[1], dtype=np.float32)
    covered = np.flatnonzero((front.faces >= 0) | (behind.faces >= 0))
    for start in range(0, len(covered), _CHUNK):
        pixels = covered[start : start + _CHUNK]
        in_front = pixels[front.faces[pixels] >= 0]
        colour, transmittance, is_car = _shade_layer(scene, front, in_front)
        coverage[in_front[is_car]] = 1
        see_through = np.concatenate([pixels[front.faces[pixels] < 0], in_front[transmittance > 0]])
        see_through = see_through[behind.faces[see_through] >= 0]
        behind_colour, behind_transmittance, behind_is_car = _shade_layer(scene, behind, see_through)
        coverage[see_through[behind_is_car]] = 1
        image[:, see_through] = behind_colour + behind_transmittance * image[:, see_through]
        image[:, in_front] = colour + transmittance * image[:, in_front]
    return coverage


def _shade_layer(
    scene: Scene, layer: ZBuffer, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colour (3, N), transmittance (N,), and whether there is any surface (N,) at pixels of a layer."""
    projected, materials = layer.projected, scene.car.materials
    camera, faces = projected.camera, layer.faces[pixels]
    rays = camera.rays(pixels)
    barycentric, inverse_depth = projected.intersect(faces, rays)
    material_ids = scene.car.material_ids(projected.mesh, faces, barycentric)
    normals = normalize(interpolate(barycentric, projected.normals, faces))
    # The shell's inside is lined, except for its windows.
    inside = projected.back_facing[faces]
    lined = inside & (materials.transmittance[material_ids] == 0)
    material_ids = np.where(lined, np.uint8(Material.INTERIOR), material_ids)
    normals *= np.where(inside, np.float32(-1), np.float32(1))
    directions = camera.directions_to_world(rays)
    height = np.float32(camera.position[2]) + directions[2] / inverse_depth
    colour, transmittance = shade(
        scene.studio.lighting, materials, material_ids, normals, normalize(directions), height
    )
    return colour * scene.studio.tint[:, None], transmittance, material_ids != Material.HOLE


def _expose(image: np.ndarray, vignette: float, rng: np.random.Generator) -> np.ndarray:
    """Convert an image in 0..1 to a photo (uint8) with random exposure, sensor noise and colour offset."""
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    exposure = rng.uniform(0.97, 1.03) * (1 - vignette * (x * x + y * y) / 2)
    photo = image * exposure[..., None].astype(np.float32) * 255
    noise = rng.standard_normal(photo.shape, dtype=np.float32) * np.float32(rng.uniform(1.0, 2.5))
    photo += noise + rng.normal(0, 1, 3).astype(np.float32)
    return np.clip(photo, 0, 255).astype(np.uint8)
