"""The gallery: the photos that each run did worst on, with truth, mask and difference to lay over them."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from carvana import console
from carvana.data import images
from carvana.data.folder import Photo, training_photos
from carvana.data.stages import Stages
from carvana.leaderboard.report.experiments import UNKNOWN, Experiment
from carvana.models.run import Run

TRUTH, MASK, MISSED, EXTRA = (42, 168, 118), (47, 126, 216), (232, 89, 12), (214, 51, 190)
"""Colours of the overlays, red green blue; what the network missed, and what it took too much."""

_WIDTH = 640
_SHOWN_SHARE = 0.1
"""Of a picture's pixel that has to be wrong for it to be marked: a line a photo's pixel wide is still seen."""


@dataclass(frozen=True)
class Picture:
    """A photo of the gallery, as pictures that lie in the page itself."""

    recipe: str
    fold: int
    img: str
    car: str
    angle: int
    make: str
    dice: float
    size: tuple[int, int]
    """(height, width) of the pictures."""
    photo: str
    truth: str
    mask: str
    difference: str
    """What was missed, and what is too much."""


def pictures(experiments: Sequence[Experiment], data: Path, makes: pd.Series, worst: int) -> list[Picture]:
    """Predict the photos that each run did worst on, and draw them.

    Args:
        experiments: whose networks are asked again, as their recipes say.
        data: the data folder that they were trained on.
        makes: the make of each car.
        worst: photos a run.

    Raises:
        InputError: the data folder has no photos.
    """
    photos = {photo.name: photo for photo in training_photos(data)}
    chosen = [(one, run, _worst(one, run, photos, worst)) for one in experiments for run in one.runs]
    found = []
    with console.progress(
        "masks of the worst photos", sum(len(rows) for *_, rows in chosen), "photos"
    ) as advance:
        for one, run, rows in chosen:
            for row, mask in zip(
                rows.itertuples(), _masks(run, [photos[img] for img in rows["img"]]), strict=True
            ):
                found.append(_picture(one.name, row, photos[row.img], mask, makes.get(row.car, UNKNOWN)))
                advance()
    return found


def _worst(experiment: Experiment, run: Run, photos: dict[str, Photo], count: int) -> pd.DataFrame:
    scores = experiment.scores
    own = scores[(scores["fold"] == run.fold) & scores["img"].isin(photos)]
    return own.nsmallest(count, "dice")


def _masks(run: Run, photos: Sequence[Photo]) -> Iterator[np.ndarray]:
    if not photos:
        return
    from carvana.prediction.answers import Blend, Ensemble  # late: TensorFlow takes seconds to import
    from carvana.prediction.maps import mask_of
    from carvana.prediction.stream import Answer, answers

    recipe = run.read_recipe()

    def mask(answer: Answer) -> np.ndarray:
        return mask_of(answer.maps[0], answer.seen.own_size, recipe.threshold)

    yield from answers(Blend((Ensemble.load([run], recipe),)), photos, mask, stages=Stages())


def _picture(recipe: str, row: object, photo: Photo, mask: np.ndarray, make: str) -> Picture:
    truth = images.read_mask(photo.mask)
    height, width = mask.shape
    size = (round(height * min(1, _WIDTH / width)), min(width, _WIDTH))
    return Picture(
        recipe=recipe,
        fold=row.fold,
        img=row.img,
        car=row.car,
        angle=row.angle,
        make=make,
        dice=row.dice,
        size=size,
        photo=_jpeg(images.read_photo(photo.path, size)),
        truth=_overlay([(truth, TRUTH)], size, share=0.5, opacity=0.55),
        mask=_overlay([(mask, MASK)], size, share=0.5, opacity=0.55),
        difference=_overlay(
            [(truth & ~mask, MISSED), (mask & ~truth, EXTRA)], size, share=_SHOWN_SHARE, opacity=0.9
        ),
    )


def _jpeg(photo: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _overlay(
    layers: Sequence[tuple[np.ndarray, tuple[int, int, int]]],
    size: tuple[int, int],
    *,
    share: float,
    opacity: float,
) -> str:
    """A picture that is clear but for its layers: bool masks (height, width), each in its colour."""
    indices = np.zeros(size, np.uint8)
    for number, (layer, _) in enumerate(layers, start=1):
        covered = cv2.resize(layer.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        indices[covered > share] = number
    image = Image.fromarray(indices, mode="P")
    image.putpalette([0, 0, 0, *(part for _, colour in layers for part in colour)])
    alpha = bytes([0, *[round(255 * opacity)] * len(layers)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=alpha, optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
