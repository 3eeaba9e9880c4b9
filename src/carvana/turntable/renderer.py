"""One car in one studio, from any angle: a photo and its mask from the same render."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from carvana.turntable.camera import Camera, rotate, set_up_camera, turn_of
from carvana.turntable.car import Car, build_car
from carvana.turntable.ground_plane import cast_shadow, mirror_image, shadow_sheet
from carvana.turntable.materials import Material
from carvana.turntable.mesh import Mesh, interpolate, merge
from carvana.turntable.rasterizer import Hits, Pose
from carvana.turntable.shading import shade, unit
from carvana.turntable.studio import Studio, draw_backdrop, draw_studio

_FINER = 2  # the car is rendered with 2 x 2 samples a pixel
_CHUNK = 32768  # pixels; what is worked out about them then stays in the cache
_SHELL, _INSIDE, _OUTSIDE = range(3)


@dataclass(frozen=True)
class Session:
    """A car that stands in its studio: all that its photos share."""

    car: Car
    mesh: Mesh
    """All of the car."""
    parts: np.ndarray
    """(parts, 3): each part's first face, the face after its last, and its kind (_SHELL and so on)."""
    studio: Studio
    camera: Camera
    backdrop: np.ndarray
    """The empty studio, (height, width, 3) float32 in 0..1."""
    shadow: np.ndarray
    """The floor's light round the car, as `shadow_sheet` draws it."""
    mirrored: Mesh
    """What the floor mirrors, upside down."""
    mirrored_colours: np.ndarray
    """(F, 3) float32, one for each face of `mirrored`."""


def open_session(number: int, size: tuple[int, int], rng: np.random.Generator) -> Session:
    """Car `number` on the turntable of a studio of its own; photos are `size` (height, width) pixels."""
    streams = rng.spawn(4)
    car = build_car(number, streams[0], pixels_per_metre=max(60.0, size[1] * _FINER / 6))
    studio, camera = draw_studio(streams[1]), set_up_camera(size, car.dimensions.length, streams[2])
    meshes = (*car.shell, *car.wheels, *car.interior, *car.attachments)
    kinds = np.repeat(
        [_SHELL, _INSIDE, _OUTSIDE], [len(car.shell), len(car.wheels + car.interior), len(car.attachments)]
    )
    ends = np.cumsum([len(mesh.faces) for mesh in meshes])
    mesh, low = merge(meshes), merge((*car.shell, *car.wheels))
    return Session(
        car=car,
        mesh=mesh,
        parts=np.stack([np.concatenate([[0], ends[:-1]]), ends, kinds], axis=1),
        studio=studio,
        camera=camera,
        backdrop=draw_backdrop(studio, camera, streams[3]),
        shadow=shadow_sheet(car.dimensions, studio.shadow),
        mirrored=replace(low, vertices=low.vertices * np.float32([1, 1, -1])),
        mirrored_colours=car.materials.albedo[
            car.material_ids(low, np.arange(len(low.faces)), np.full((3, 1), 1 / 3))
        ],
    )


def take_photo(
    session: Session, angle: int, angles: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The photo (height, width, 3) uint8 and its mask (height, width) bool at `angle` 1..`angles`."""
    turn = turn_of(angle, angles)
    ground = _ground(session, turn)
    photo, cover = _car_over(session, turn, ground)
    height, width = session.camera.size
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    light = rng.uniform(0.97, 1.03) * (1 - session.studio.vignette * (x * x + y * y) / 2)
    photo = photo * light[..., None].astype(np.float32) * 255
    grain = rng.standard_normal(photo.shape, dtype=np.float32) * np.float32(rng.uniform(1.0, 2.5))
    photo += grain + rng.normal(0, 1, 3).astype(np.float32)
    return np.clip(photo, 0, 255).astype(np.uint8), cover >= 0.5


def _ground(session: Session, turn: np.ndarray) -> np.ndarray:
    """The studio with the car's shadow and reflection on the floor, (height, width, 3) float32."""
    light = cast_shadow(session.shadow, session.camera, turn)
    mirrored = mirror_image(Pose(session.mirrored, session.camera, turn), session.mirrored_colours)
    gloss = session.studio.gloss
    ground = session.backdrop * (1 - gloss * mirrored[..., 3:]) + gloss * 0.8 * mirrored[..., :3]
    return ground * light[..., None]


def _car_over(session: Session, turn: np.ndarray, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Render the car over `ground`: (height, width, 3) float32, and the share of each pixel it covers."""
    whole = session.camera
    seen = whole.project(whole.see(rotate(turn, session.mesh.vertices.T).T))
    left, top = np.clip(np.floor(seen.min(axis=0)).astype(int) - 1, 0, None).tolist()
    right, bottom = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + 2, whole.size[::-1]).tolist()
    window = slice(top, bottom), slice(left, right)
    camera = whole.part(top, left, (bottom - top, right - left)).finer(_FINER)
    before, behind = _hits(session, Pose(session.mesh, camera, turn))
    canvas = ground[window].repeat(_FINER, axis=0).repeat(_FINER, axis=1).transpose(2, 0, 1).copy()
    fine_cover = _lay_over(session, canvas.reshape(3, -1), before, behind)
    photo, cover = ground.copy(), np.zeros(whole.size, dtype=np.float32)
    small = right - left, bottom - top
    for channel in range(3):
        photo[window][..., channel] = cv2.resize(canvas[channel], small, interpolation=cv2.INTER_AREA)
    cover[window] = cv2.resize(fine_cover.reshape(camera.size), small, interpolation=cv2.INTER_AREA)
    return photo, cover


def _hits(session: Session, pose: Pose) -> tuple[Hits, Hits]:
    """What each pixel sees first, and what it sees where that is see-through."""
    before, behind = Hits(pose), Hits(pose)
    for first, last, kind in session.parts:
        (behind if kind == _INSIDE else before).paint(first + np.flatnonzero(pose.front[first:last]))
        if kind == _SHELL:
            behind.paint(first + np.flatnonzero(pose.back[first:last]))
    return before, behind


def _lay_over(session: Session, canvas: np.ndarray, before: Hits, behind: Hits) -> np.ndarray:
    """Lay the car over `canvas` (3, pixels) in place; returns 1.0 where a pixel is car (pixels,) float32."""
    cover = np.zeros(canvas.shape[1], dtype=np.float32)
    for pixels in _chunks(np.flatnonzero((before.face >= 0) | (behind.face >= 0))):
        first = pixels[before.face[pixels] >= 0]
        colour, clear, solid = _surface(session, before, first)
        cover[first[solid]] = 1
        beyond = np.concatenate([pixels[before.face[pixels] < 0], first[clear > 0]])
        beyond = beyond[behind.face[beyond] >= 0]
        far_colour, far_clear, far_solid = _surface(session, behind, beyond)
        cover[beyond[far_solid]] = 1
        canvas[:, beyond] = far_colour + far_clear * canvas[:, beyond]
        canvas[:, first] = colour + clear * canvas[:, first]
    return cover


def _chunks(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels[start : start + _CHUNK] for start in range(0, len(pixels), _CHUNK)]


def _surface(session: Session, hits: Hits, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour (3, N), clearness (N,) and whether it is car (N,) of what `hits` has at `pixels` (N,)."""
    pose, faces = hits.pose, hits.face[pixels]
    rays = pose.camera.rays(pixels)
    weights, near = pose.meet(faces, rays)
    codes = session.car.material_ids(pose.mesh, faces, weights)
    normals = unit(interpolate(weights, pose.normals, faces))
    # The shell from within: lining where it is not glass.
    within = pose.back[faces]
    codes = np.where(
        within & (session.car.materials.transmittance[codes] == 0), np.uint8(Material.INTERIOR), codes
    )
    normals *= np.where(within, np.float32(-1), np.float32(1))
    looks = pose.camera.to_studio(rays)
    height = np.float32(pose.camera.position[2]) + looks[2] / near
    colour, clear = shade(session.studio.lights, session.car.materials, codes, normals, unit(looks), height)
    return colour * session.studio.tint[:, None], clear, codes != Material.HOLE
