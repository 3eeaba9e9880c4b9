"""The gallery: the photos that each run scored worst on, with true mask, predicted mask and their difference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carvana import console
from carvana.competition import rle
from carvana.data import images
from carvana.data.dataset import Sample, train_samples
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.report.drawing import EXTRA, MASK, MISSED, TRUTH, overlay, photo_url, shown_size
from carvana.report.experiments import UNKNOWN, Experiment
from carvana.runs import RunDir

_VISIBLE_SHARE = 0.1
"""Share of a picture's pixel that has to be wrong to be marked: a line as wide as a photo's pixel stays visible."""


@dataclass(frozen=True)
class Picture:
    """A photo of the gallery, with pictures as data URLs for the page."""

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
    """Car that was missed, and background that was predicted as car."""


def pictures(experiments: Sequence[Experiment], data: Path, makes: pd.Series, worst: int) -> list[Picture]:
    """Predict the photos that each run scored worst on, and draw them.

    Args:
        experiments: the recipes' runs, which predict as their recipes say.
        data: the data folder that they were trained on.
        makes: the make of each car.
        worst: number of photos per run.

    Raises:
        UserError: the data folder has no photos.
    """
    samples = {sample.name: sample for sample in train_samples(data)}
    chosen = [(one, run, _worst(one, run, samples, worst)) for one in experiments for run in one.runs]
    total = sum(len(scores) for *_, scores in chosen)
    drawn = []
    with console.progress("masks of the worst photos", total, "photos") as advance:
        for experiment, run, scores in chosen:
            masks = _masks(run, [samples[img] for img in scores["img"]])
            for score, mask in zip(scores.to_dict("records"), masks, strict=True):
                make = makes.get(score["car"], UNKNOWN)
                drawn.append(_picture(experiment.name, score, samples[score["img"]], mask, make))
                advance()
    return drawn


def _worst(experiment: Experiment, run: RunDir, samples: dict[str, Sample], count: int) -> pd.DataFrame:
    scores = experiment.scores
    of_run = scores[(scores["fold"] == run.fold) & scores["img"].isin(samples)]
    return of_run.nsmallest(count, "dice")


def _masks(run: RunDir, samples: Sequence[Sample]) -> Iterator[np.ndarray]:
    """Predict the masks of photos, bool (height, width), at their own sizes."""
    if not samples:
        return
    recipe = run.read_recipe()

    def mask(prediction: Prediction) -> np.ndarray:
        return rle.edges_to_mask(prediction.edges(recipe.threshold), prediction.photo_size)

    yield from predict_stream(WeightedEnsemble((FoldEnsemble.load([run], recipe),)), samples, mask)


def _picture(recipe: str, score: dict, sample: Sample, mask: np.ndarray, make: str) -> Picture:
    truth = sample.read_mask()
    size = shown_size(mask.shape)
    difference = [(truth & ~mask, MISSED), (mask & ~truth, EXTRA)]
    return Picture(
        recipe=recipe,
        fold=score["fold"],
        img=score["img"],
        car=score["car"],
        angle=score["angle"],
        make=make,
        dice=score["dice"],
        size=size,
        photo=photo_url(images.read_photo(sample.path, size)),
        truth=overlay([(truth, TRUTH)], size, share=0.5, opacity=0.55),
        mask=overlay([(mask, MASK)], size, share=0.5, opacity=0.55),
        difference=overlay(difference, size, share=_VISIBLE_SHARE, opacity=0.9),
    )
