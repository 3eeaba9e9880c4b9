"""The gallery: the photos that each run did worst on, with truth, mask and difference to lay over them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carvana import console
from carvana.data import images
from carvana.data.dataset import Sample, train_samples
from carvana.data.timing import PipelineTimer
from carvana.report.drawing import EXTRA, MASK, MISSED, TRUTH, overlay, photo_url, shown_size
from carvana.report.experiments import UNKNOWN, Experiment
from carvana.runs import RunDir

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
        UserError: the data folder has no photos.
    """
    photos = {photo.name: photo for photo in train_samples(data)}
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


def _worst(experiment: Experiment, run: RunDir, photos: dict[str, Sample], count: int) -> pd.DataFrame:
    scores = experiment.scores
    own = scores[(scores["fold"] == run.fold) & scores["img"].isin(photos)]
    return own.nsmallest(count, "dice")


def _masks(run: RunDir, photos: Sequence[Sample]) -> Iterator[np.ndarray]:
    if not photos:
        return
    from carvana.inference.maps import mask_of
    from carvana.inference.pipeline import Prediction, predict_stream
    from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble

    recipe = run.read_recipe()

    def mask(answer: Prediction) -> np.ndarray:
        return mask_of(answer.maps[0], answer.sample.photo_size, recipe.threshold)

    yield from predict_stream(
        WeightedEnsemble((FoldEnsemble.load([run], recipe),)), photos, mask, stages=PipelineTimer()
    )


def _picture(recipe: str, row: object, photo: Sample, mask: np.ndarray, make: str) -> Picture:
    truth = images.read_mask(photo.mask)
    size = shown_size(mask.shape)
    return Picture(
        recipe=recipe,
        fold=row.fold,
        img=row.img,
        car=row.car,
        angle=row.angle,
        make=make,
        dice=row.dice,
        size=size,
        photo=photo_url(images.read_photo(photo.path, size)),
        truth=overlay([(truth, TRUTH)], size, share=0.5, opacity=0.55),
        mask=overlay([(mask, MASK)], size, share=0.5, opacity=0.55),
        difference=overlay(
            [(truth & ~mask, MISSED), (mask & ~truth, EXTRA)], size, share=_SHOWN_SHARE, opacity=0.9
        ),
    )
