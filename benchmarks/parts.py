"""The first and the last step of a photo's way, on one core, compared with how most repositories do them.

    ./run.sh benchmark --data $CARVANA_DATA

First step: a photo and its mask are decoded, resized and augmented. Last step: a probability map is upsampled to the
photo's size, thresholded and encoded. Both implementations take turns in one run; the ratio is that of the medians.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image

from carvana import commandline, console
from carvana.competition import rle
from carvana.data import images
from carvana.data.augmentation import Augmenter
from carvana.data.dataset import Sample, train_samples
from carvana.inference.contours import run_edges
from carvana.machine import processor
from carvana.recipe import Augmentation

STRONG = Augmentation(
    flip=0.5, shift=0.06, scale=0.1, rotate=5, brightness=0.2, contrast=0.2, hue=0.05, saturation=0.2
)


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    photos: Annotated[int, typer.Option(min=1, help="Number of photos.")] = 48,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 5,
) -> None:
    """Measure the first and the last step on one core, compared with the obvious implementation.

    Example:

        ./run.sh benchmark --data $CARVANA_DATA
    """
    if hasattr(os, "sched_setaffinity"):  # absent on macOS
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    every = train_samples(data)
    chosen = every[:: max(1, len(every) // photos)][:photos]
    height, width = images.photo_size(chosen[0].path)
    rows = [_input_row(chosen, size, rounds) for size in ((96, 144), (288, 432), (512, 768))]
    rows += [_photo_row(chosen, size, rounds) for size in ((288, 432), (512, 768), (1024, 1536))]
    for size in ((288, 432), (1024, 1536)):
        rows += _mask_rows(chosen, size, rounds)
    console.show_table(
        f"One core of {processor()}, photos {width}x{height}, medians of {rounds} rounds",
        ["step", "ours [ms]", "obvious [ms]", "speedup", "ours [1/s]"],
        rows,
    )


def _input_row(photos: list[Sample], size: tuple[int, int], rounds: int) -> list[str]:
    augment = Augmenter(STRONG)

    def ours(photo: Sample) -> tuple[np.ndarray, np.ndarray]:
        mask = images.mask_coverage(images.read_mask(photo.mask), size)
        return augment(images.read_photo(photo.path, size), mask, seed=1)

    name = f"photo and mask, decoded to {size[1]}x{size[0]} and augmented"
    return _row(name, *_in_turns(ours, lambda photo: obvious_input(photo, size), photos, rounds))


def _photo_row(photos: list[Sample], size: tuple[int, int], rounds: int) -> list[str]:
    return _row(
        f"photo, decoded to {size[1]}x{size[0]}",
        *_in_turns(
            lambda photo: images.read_photo(photo.path, size),
            lambda photo: obvious_photo(photo.path, size),
            photos,
            rounds,
        ),
    )


def _mask_rows(photos: list[Sample], size: tuple[int, int], rounds: int) -> list[list[str]]:
    """Compare the last step with the obvious implementation, and with the fastest that upsamples whole maps."""
    masks = [images.mask_coverage(images.read_mask(photo.mask), size) for photo in photos]
    maps = [cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.0) for mask in masks]
    full = images.photo_size(photos[0].path)
    rows = []
    for dtype, other in (("float", obvious_rle), ("uint8", byte_rle)):
        differing = max(_differing(ours_rle(one, full), other(one, full), full) for one in maps)
        name = f"{size[1]}x{size[0]} map to RLE, upsampled as {dtype} ({differing:.0e} of the pixels differ)"
        functions = (partial(ours_rle, size=full), partial(other, size=full))
        rows.append(_row(name, *_in_turns(*functions, maps, rounds)))
    return rows


def ours_rle(probabilities: np.ndarray, size: tuple[int, int]) -> str:
    """Encode a map as prediction does."""
    return rle.edges_to_rle(run_edges(probabilities, size, 0.5))


def byte_rle(probabilities: np.ndarray, size: tuple[int, int]) -> str:
    """Resize and threshold the map in bytes, and encode eight pixels at a time."""
    levels = np.rint(probabilities * 255).astype(np.uint8)
    _, mask = cv2.threshold(cv2.resize(levels, size[::-1]), 127, 1, cv2.THRESH_BINARY)
    return rle.encode(mask.view(bool))


def _differing(first: str, second: str, size: tuple[int, int]) -> float:
    return float(np.mean(rle.decode(first, size) != rle.decode(second, size)))


def obvious_photo(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Decode a whole photo, then resize it."""
    return cv2.resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), size[::-1])


def obvious_input(photo: Sample, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Decode and resize a photo and its mask, then shift, scale, rotate and change colours in float."""
    random = np.random.default_rng(1)
    image = obvious_photo(photo.path, size)
    mask = np.array(Image.open(photo.mask).convert("L"))
    mask = cv2.resize(mask, size[::-1])
    turn = cv2.getRotationMatrix2D(
        (size[1] / 2, size[0] / 2), random.uniform(-5, 5), random.uniform(0.9, 1.1)
    )
    turn[:, 2] += random.uniform(-0.06, 0.06, 2) * size[::-1]
    image = cv2.warpAffine(image, turn, size[::-1], borderMode=cv2.BORDER_REFLECT_101)
    mask = cv2.warpAffine(mask, turn, size[::-1], borderMode=cv2.BORDER_REFLECT_101)
    if random.random() < 0.5:
        image, mask = cv2.flip(image, 1), cv2.flip(mask, 1)
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.float32)
    colours += random.uniform(-1, 1, 3) * (9, 51, 51)
    image = cv2.cvtColor(np.clip(colours, 0, (179, 255, 255)).astype(np.uint8), cv2.COLOR_HSV2RGB)
    return image.astype(np.float32) / 255, mask.astype(np.float32)


def obvious_rle(probabilities: np.ndarray, size: tuple[int, int]) -> str:
    """Resize in float, threshold, and encode as most repositories do, with correct runs at both ends."""
    mask = (cv2.resize(probabilities, size[::-1]) > 0.5).astype(np.uint8)
    pixels = np.concatenate([[0], mask.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(number) for number in runs)


def _in_turns(ours: Callable, obvious: Callable, items: list, rounds: int) -> tuple[float, float]:
    """Return the median milliseconds per item of two implementations that take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for function, taken in zip((ours, obvious), times, strict=True):
            began = time.perf_counter()
            for item in items:
                function(item)
            taken.append((time.perf_counter() - began) / len(items) * 1e3)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def _row(name: str, ours: float, obvious: float) -> list[str]:
    return [name, f"{ours:.2f}", f"{obvious:.2f}", f"{obvious / ours:.1f}", f"{1e3 / ours:,.0f}"]


if __name__ == "__main__":
    commandline.run(benchmark)
