"""Writer of rendered data sets in the competition's form; cars are rendered in parallel on all cores."""

import csv
import hashlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from carvana.competition import rle
from carvana.competition.names import ANGLES, mask_name, photo_name
from carvana.errors import UserError
from carvana.files import atomic_folder
from carvana.turntable.dimensions import BODY_TYPES
from carvana.turntable.renderer import render_view
from carvana.turntable.scene import build_scene

_PUBLIC_SHARE = 0.25
_MAKES = ("Ombra", "Veltra", "Kestrel", "Norrland", "Tamaro", "Quillon")
_MODELS = ("Tarn", "Fell", "Heron", "Brio", "Sora", "Lumen", "Dune", "Calla")
_TRIMS = ("Base", "LX", "Sport", "Touring", "Limited", "")

_MaskRows = list[tuple[str, str]]


class _Split(IntEnum):
    """Part of the data set; the values are part of the random seeds."""

    TRAIN = 0
    TEST = 1


@dataclass(frozen=True)
class _CarSpec:
    """A car to render: number `number` of its split."""

    seed: int
    split: _Split
    number: int

    @property
    def car(self) -> str:
        """The car's id: 12 hex digits."""
        text = f"turntable {self.seed} {int(self.split)} {self.number}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def index(self) -> int:
        """Index that selects body type and paint; the splits start at different ones."""
        return self.number + self.seed + 3 * self.split

    @property
    def photos(self) -> list[str]:
        """File names of the car's photos, by angle."""
        return [photo_name(self.car, angle) for angle in range(1, ANGLES + 1)]

    def rng(self, *stream: int) -> np.random.Generator:
        """Create the generator of one of the car's independent random streams."""
        return np.random.default_rng([self.seed, self.split, self.number, *stream])


def render_dataset(
    data: Path,
    *,
    cars: int = 24,
    test_cars: int = 8,
    size: tuple[int, int] = (320, 480),
    seed: int = 0,
    on_car: Callable[[], None] | None = None,
) -> None:
    """Render a data set of invented cars into the folder `data`, in the competition's form.

    Writes `train/*.jpg`, `train_masks/*_mask.gif`, `train_masks.csv`, `metadata.csv`, `test/*.jpg`,
    `sample_submission.csv`, and `test_masks.csv` with the test photos' masks, which Kaggle keeps secret
    (columns img, rle_mask, Usage). `data` appears only when it is complete. The same arguments give the same
    bytes, and a car's photos depend neither on `cars` nor on `test_cars`.

    Args:
        data: folder that is empty or does not exist yet.
        cars: number of training cars, 16 photos each.
        test_cars: number of test cars; about a quarter of them have the usage Public, the others Private.
        size: (height, width) of the photos in pixels.
        seed: seed of cars and studios, 0 or more.
        on_car: called after each car that is rendered.

    Raises:
        UserError: `data` is a file or a folder that is not empty.
    """
    train = [_CarSpec(seed, _Split.TRAIN, number) for number in range(cars)]
    test = [_CarSpec(seed, _Split.TEST, number) for number in range(test_cars)]
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise UserError(f"{data}: not an empty folder; give one that is empty or does not exist yet")
    with atomic_folder(data) as folder:
        for name in ("train", "train_masks", "test"):
            (folder / name).mkdir()
        jobs = (delayed(_render_car)(folder, spec, size) for spec in (*train, *test))
        masks: dict[str, str] = {}
        # Closing the generator cancels the cars that are being rendered, should `on_car` raise.
        with closing(Parallel(n_jobs=-1, return_as="generator_unordered")(jobs)) as results:
            for rows in results:
                masks.update(rows)
                if on_car is not None:
                    on_car()
        _write_tables(folder, train, test, masks)


def _render_car(folder: Path, spec: _CarSpec, size: tuple[int, int]) -> _MaskRows:
    """Write a car's photos, and its masks if it is a training car; return photo names and RLE masks."""
    scene = build_scene(spec.index, size, spec.rng())
    is_train = spec.split == _Split.TRAIN
    photos = folder / ("train" if is_train else "test")
    rows = []
    for angle, photo in enumerate(spec.photos, start=1):
        rng = spec.rng(angle)
        pixels, mask = render_view(scene, angle, ANGLES, rng)
        Image.fromarray(pixels).save(photos / photo, quality=int(rng.integers(85, 93)))
        if is_train:
            _save_mask(mask, folder / "train_masks" / mask_name(photo))
        rows.append((photo, rle.encode(mask)))
    return rows


def _save_mask(mask: np.ndarray, path: Path) -> None:
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def _write_tables(folder: Path, train: list[_CarSpec], test: list[_CarSpec], masks: dict[str, str]) -> None:
    train_photos = sorted(photo for spec in train for photo in spec.photos)
    test_photos = sorted((photo, usage) for spec, usage in _usages(test) for photo in spec.photos)
    train_rows = ((photo, masks[photo]) for photo in train_photos)
    _write_csv(folder / "train_masks.csv", ("img", "rle_mask"), train_rows)
    sample_rows = ((photo, "1 1") for photo, _ in test_photos)
    _write_csv(folder / "sample_submission.csv", ("img", "rle_mask"), sample_rows)
    test_rows = ((photo, masks[photo], usage) for photo, usage in test_photos)
    _write_csv(folder / "test_masks.csv", ("img", "rle_mask", "Usage"), test_rows)
    metadata_rows = sorted(_metadata_row(spec) for spec in (*train, *test))
    _write_csv(folder / "metadata.csv", ("id", "year", "make", "model", "trim1", "trim2"), metadata_rows)


def _usages(test: list[_CarSpec]) -> list[tuple[_CarSpec, str]]:
    """Return each test car with its usage, Public or Private, which the pseudorandom order of ids decides."""
    specs = sorted(test, key=lambda spec: spec.car)
    n_public = max(1, round(_PUBLIC_SHARE * len(specs))) if len(specs) > 1 else 0
    return [(spec, "Public" if rank < n_public else "Private") for rank, spec in enumerate(specs)]


def _metadata_row(spec: _CarSpec) -> tuple[str, ...]:
    """Return a car's row of metadata.csv: an invented make and model, some cells empty."""
    rng = spec.rng(0)
    body_type = list(BODY_TYPES)[spec.index % len(BODY_TYPES)]
    model = f"{rng.choice(_MODELS)} {body_type}"
    trim = str(rng.choice(_TRIMS))
    year, make = str(rng.integers(2004, 2019)), str(rng.choice(_MAKES))
    return spec.car, year, make, model, model if trim else "", trim


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
