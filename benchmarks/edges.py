"""Colour error along the edge of cut-outs of rendered cars, whose opacity and colours are known exactly.

    ./run.sh benchmark edges --weights runs/turntable/fast/all

Each cut-out is laid over magenta, a colour that no car and no studio has, and compared with the car rendered over
magenta. The error is the mean difference of a channel, in levels 0..255, of the pixels within `EDGE` pixels of the
true contour; and of those of them near which the mask is right, because no edge is right where a part of the car is
missing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

import carvana
from carvana import commandline, console
from carvana.arguments import parse_size
from carvana.competition.names import ANGLES
from carvana.files import atomic_path
from carvana.inference.foreground import STEEPNESS, alpha_channel, cut_out
from carvana.machine import describe_machine
from carvana.turntable.renderer import render_layers
from carvana.turntable.scene import build_scene

MAGENTA = np.array([255, 0, 255], np.float32)
EDGE = 3
"""Distance from the true contour in pixels."""
_SEED = 1_000_000
"""Seed of the cars, which are in no data set of `prepare` with a smaller one."""
_NOISE = 1.5
"""Standard deviation of the photos' noise, in levels."""
_PICTURE = (60, 90)
"""Height and width in pixels of a detail in the picture, before it is enlarged."""


def benchmark(
    weights: Annotated[str, typer.Option(help="Weights, a run's folder, or a recipe.")] = "fast",
    cars: Annotated[int, typer.Option(min=1, help="Number of cars.")] = 6,
    angles: Annotated[int, typer.Option(min=1, max=ANGLES, help="Photos of each car.")] = 4,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the photos.")] = "960x640",
    picture: Annotated[
        Path | None, typer.Option(help="Also write a picture of details, a PNG or JPEG file.")
    ] = None,
) -> None:
    """Measure how much of the studio shines through the edges of cut-outs."""
    predictor = carvana.load(weights)
    errors: dict[str, list[tuple[float, float]]] = {}
    details = []
    for photo, coverage, truth in views(cars, angles, parse_size(size, 64, 4096)):
        probability = predictor.probability(photo)
        compared = cutouts(photo, probability, coverage)
        near = edge(coverage)
        right = near & ~_near_wrong_mask(coverage, probability)
        for name, rgba in compared.items():
            difference = np.abs(over_magenta(rgba) - truth)
            errors.setdefault(name, []).append((difference[near].mean(), difference[right].mean()))
        hard, *_, clean = list(compared.values())[:3]
        details.append(_detail(coverage, hard, clean, truth))
    rows = [[name, *(f"{mean:.2f}" for mean in np.mean(values, axis=0))] for name, values in errors.items()]
    title = f"Colour error within {EDGE} pixels of the contour, {cars * angles} photos of {size}"
    console.show_table(
        f"{title}, on {describe_machine()}",
        ["cut-out", "along the edge", "where the mask is right"],
        rows,
        left=1,
    )
    if picture:
        with atomic_path(picture) as part:
            cv2.imwrite(str(part), cv2.cvtColor(np.vstack(details[:: max(1, angles)][:3]), cv2.COLOR_RGB2BGR))
        console.message(f"{picture}: hard edge, soft edge with the car's colours, and truth, over magenta")


def views(
    cars: int, angles: int, size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield photos (uint8), the car's coverage (0..1), and the true car over magenta (0..255)."""
    for car in range(cars):
        scene = build_scene(car, size, np.random.default_rng([_SEED, car]))
        for angle in range(1, ANGLES + 1, ANGLES // angles)[:angles]:
            layers = render_layers(scene, angle, ANGLES)
            noise = np.random.default_rng([_SEED, car, angle]).normal(0, _NOISE, layers.image.shape)
            photo = np.clip(np.rint(layers.image * 255 + noise), 0, 255).astype(np.uint8)
            uncovered = 1 - layers.coverage[..., None]
            car_alone = np.clip(layers.image - uncovered * layers.studio, 0, 1) * 255
            yield photo, layers.coverage, car_alone + uncovered * MAGENTA


def cutouts(photo: np.ndarray, probability: np.ndarray, coverage: np.ndarray) -> dict[str, np.ndarray]:
    """Return the cut-outs (height, width, 4), uint8, to compare, by their names."""
    mask, exact = (np.rint(255 * one).astype(np.uint8) for one in (probability > 0.5, coverage))
    soft = {steepness: alpha_channel(probability, 0.5, steepness) for steepness in (1.0, STEEPNESS, 3.0)}
    return {
        "hard edge, the photo's colours (before)": np.dstack([photo, mask]),
        "soft edge, the photo's colours": np.dstack([photo, soft[STEEPNESS]]),
        "soft edge, the car's colours (after)": cut_out(photo, soft[STEEPNESS]),
        **{
            f"the same with a steepness of {steepness:g}": cut_out(photo, alpha)
            for steepness, alpha in soft.items()
            if steepness != STEEPNESS
        },
        "true edge, the photo's colours": np.dstack([photo, exact]),
        "true edge, the car's colours": cut_out(photo, exact),
    }


def over_magenta(rgba: np.ndarray) -> np.ndarray:
    """Return a cut-out (height, width, 4), uint8, over magenta: (height, width, 3), float32, 0..255."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return rgba[..., :3] * alpha + (1 - alpha) * MAGENTA


def edge(coverage: np.ndarray) -> np.ndarray:
    """Return the pixels within `EDGE` pixels of the contour, bool (height, width)."""
    car = (coverage >= 0.5).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE + 1, 2 * EDGE + 1))
    return cv2.dilate(car, disc) > cv2.erode(car, disc)


def _near_wrong_mask(coverage: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the pixels near a wrong one that is no neighbour of the true contour, bool (height, width)."""
    car, square = (coverage >= 0.5).astype(np.uint8), np.ones((3, 3), np.uint8)
    on_contour = cv2.dilate(car, square) > cv2.erode(car, square)
    wrong = ((probability > 0.5) != (car > 0)) & ~on_contour
    return cv2.dilate(wrong.astype(np.uint8), np.ones((2 * EDGE + 3, 2 * EDGE + 3), np.uint8)) > 0


def _detail(coverage: np.ndarray, hard: np.ndarray, clean: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return a detail of two cut-outs and of the truth over magenta, side by side and enlarged."""
    rows, columns = np.nonzero(coverage >= 0.5)
    top, left = int(rows.min()) - 8, int(columns[rows.argmin()]) - _PICTURE[1] // 2
    top, left = (
        int(np.clip(first, 0, side - part))
        for first, side, part in zip((top, left), coverage.shape, _PICTURE, strict=True)
    )
    window = slice(top, top + _PICTURE[0]), slice(left, left + _PICTURE[1])
    details = np.hstack([image[window] for image in (over_magenta(hard), over_magenta(clean), truth)])
    return cv2.resize(np.rint(details).astype(np.uint8), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)


if __name__ == "__main__":
    commandline.run(benchmark)
