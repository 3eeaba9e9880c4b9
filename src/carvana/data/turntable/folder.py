"""Writes a whole data set in the competition's form, car by car on all cores."""

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from carvana.competition import rle
from carvana.competition.names import ANGLES, mask_name, photo_name
from carvana.data.turntable.proportions import BODY_TYPES
from carvana.data.turntable.render import open_session, take_photo
from carvana.errors import UserError

_TRAIN, _TEST = 0, 1
_PUBLIC_SHARE = 0.25
_MAKES = ("Ombra", "Veltra", "Kestrel", "Norrland", "Tamaro", "Quillon")
_MODELS = ("Tarn", "Fell", "Heron", "Brio", "Sora", "Lumen", "Dune", "Calla")
_TRIMS = ("Base", "LX", "Sport", "Touring", "Limited", "")


@dataclass(frozen=True)
class _Order:
    """A car to be rendered: the `number`-th of its `split`."""

    seed: int
    split: int
    number: int

    @property
    def car(self) -> str:
        """The car's id: 12 hex digits."""
        return hashlib.sha256(f"turntable {self.seed} {self.split} {self.number}".encode()).hexdigest()[:12]

    def rng(self, *more: int) -> np.random.Generator:
        """The car's own stream of randomness; `more` tells apart its uses."""
        return np.random.default_rng([self.seed, self.split, self.number, *more])

    @property
    def place(self) -> int:
        """The car's place among body types and paints; the test cars start elsewhere."""
        return self.number + self.seed + 3 * self.split


def render_folder(
    root: Path,
    *,
    cars: int = 24,
    test_cars: int = 8,
    size: tuple[int, int] = (320, 480),
    seed: int = 0,
    on_car: Callable[[], None] | None = None,
) -> None:
    """Render a data set of cars that nobody owns into `root`, in the competition's form.

    Writes `train/`, `train_masks/`, `train_masks.csv`, `metadata.csv`, `test/`, `sample_submission.csv`
    and `test_masks.csv` (what Kaggle keeps back: img, rle_mask, Usage). `root` appears when all of it is
    there. The same arguments give the same bytes, and a car stays the same whatever `cars` and `test_cars`.

    Args:
        root: a folder that is empty or not there yet.
        cars: how many cars to train on, 16 photos each.
        test_cars: how many other cars to test on; about a quarter of them count as Public.
        size: (height, width) of the photos in pixels.
        seed: which cars and studios, 0 or more.
        on_car: called after each finished car.

    Raises:
        UserError: `root` is a file or holds something.
    """
    orders = [_Order(seed, _TRAIN, number) for number in range(cars)]
    test_orders = [_Order(seed, _TEST, number) for number in range(test_cars)]
    with _whole_or_nothing(root) as folder:
        for name in ("train", "train_masks", "test"):
            (folder / name).mkdir()
        jobs = (delayed(_render_car)(folder, order, size) for order in (*orders, *test_orders))
        masks: dict[str, str] = {}
        # Closing it stops cars that are still being rendered, should `on_car` raise.
        with closing(Parallel(n_jobs=-1, return_as="generator_unordered")(jobs)) as finished:
            for rows in finished:
                masks.update(rows)
                if on_car is not None:
                    on_car()
        _write_tables(folder, orders, test_orders, masks)


@contextmanager
def _whole_or_nothing(root: Path) -> Iterator[Path]:
    """A hidden folder beside `root` that takes its place in the end, or vanishes if anything goes wrong."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} holds something already; give a folder that is empty or not there yet")
    root.parent.mkdir(parents=True, exist_ok=True)
    # Absolute, because joblib's workers may have been started in another folder.
    hidden = Path(mkdtemp(prefix=f".{root.name}.", dir=root.parent.absolute()))
    try:
        folder = hidden / "data"  # mkdtemp's own folder is closed to others, and so would `root` be
        folder.mkdir()
        yield folder
        if root.exists():
            root.rmdir()
        folder.rename(root)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _render_car(folder: Path, order: _Order, size: tuple[int, int]) -> list[tuple[str, str]]:
    """Write a car's photos, and its masks if it is one to train on; returns photo names and masks as text."""
    session = open_session(order.place, size, order.rng())
    rows = []
    for angle in range(1, ANGLES + 1):
        rng = order.rng(angle)
        pixels, mask = take_photo(session, angle, ANGLES, rng)
        photo = photo_name(order.car, angle)
        place = folder / ("train" if order.split == _TRAIN else "test")
        Image.fromarray(pixels).save(place / photo, quality=int(rng.integers(85, 93)))
        if order.split == _TRAIN:
            _save_mask(mask, folder / "train_masks" / mask_name(photo))
        rows.append((photo, rle.encode(mask)))
    return rows


def _save_mask(mask: np.ndarray, path: Path) -> None:
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def _write_tables(
    folder: Path, orders: list[_Order], test_orders: list[_Order], masks: dict[str, str]
) -> None:
    photos = sorted(photo_name(order.car, angle) for order in orders for angle in range(1, ANGLES + 1))
    usages = _usages(test_orders)
    tests = sorted(photo_name(car, angle) for car in usages for angle in range(1, ANGLES + 1))
    _write_csv(folder / "train_masks.csv", "img,rle_mask", ((photo, masks[photo]) for photo in photos))
    _write_csv(folder / "sample_submission.csv", "img,rle_mask", ((photo, "1 1") for photo in tests))
    rows = ((photo, masks[photo], usages[photo[:12]]) for photo in tests)
    _write_csv(folder / "test_masks.csv", "img,rle_mask,Usage", rows)
    described = sorted(_description(order) for order in (*orders, *test_orders))
    _write_csv(folder / "metadata.csv", "id,year,make,model,trim1,trim2", described)


def _usages(test_orders: list[_Order]) -> dict[str, str]:
    """Public or Private for each test car, by the order of their ids, which is as good as drawn by lot."""
    cars = sorted(order.car for order in test_orders)
    public = max(1, round(_PUBLIC_SHARE * len(cars))) if len(cars) > 1 else 0
    return {car: "Public" if place < public else "Private" for place, car in enumerate(cars)}


def _description(order: _Order) -> tuple[str, ...]:
    """A row of metadata.csv: an invented make and model of the car's body type, and some empty cells."""
    rng = order.rng(0)
    body = list(BODY_TYPES)[order.place % len(BODY_TYPES)]
    model = f"{rng.choice(_MODELS)} {body}"
    trim = str(rng.choice(_TRIMS))
    return (
        order.car,
        str(rng.integers(2004, 2019)),
        str(rng.choice(_MAKES)),
        model,
        model if trim else "",
        trim,
    )


def _write_csv(path: Path, header: str, rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)
