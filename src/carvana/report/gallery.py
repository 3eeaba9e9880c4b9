"""The gallery: the photos that each run scored worst on, with true mask, predicted mask and their difference."""

from collections.abc import Generator, Sequence
from contextlib import closing
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
from carvana.inference.standalone import resize_map
from carvana.report.crops import Crop, worst_crops
from carvana.report.drawing import EXTRA, MASK, MISSED, TRUTH, heat_map, overlay, photo_url, shown_size
from carvana.report.experiments import UNKNOWN, Experiment
from carvana.runs import RunDir

CARD_BYTES = 8_000
"""Bytes of a photo's markup in the page, at most, without its images."""

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
    probability: str
    """Heat map of the probability."""
    crops: Sequence[Crop]
    """Crops round the worst errors, at full resolution."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the photo in the page."""
        urls = (self.photo, self.truth, self.mask, self.difference, self.probability)
        return CARD_BYTES + sum(map(len, urls)) + sum(crop.n_bytes for crop in self.crops)


@dataclass(frozen=True)
class Pictures:
    """The photos of the gallery, and of how many they are."""

    drawn: Sequence[Picture]
    requested: int
    """Number of photos that the gallery would have without a limit of its bytes."""
    scored: int
    """Number of held-out photos of all runs."""


def pictures(
    experiments: Sequence[Experiment], data: Path, makes: pd.Series, worst: int, max_bytes: int
) -> Pictures:
    """Predict the photos that each run scored worst on, and draw them.

    Args:
        experiments: the recipes' runs, which predict as their recipes say.
        data: the data folder that they were trained on.
        makes: the make of each car.
        worst: number of photos per run.
        max_bytes: bytes of all photos in the page, at most. Each run has an equal share of them, and what one leaves
            over is shared by those after it.

    Raises:
        UserError: the data folder has no photos.
    """
    samples = {sample.name: sample for sample in train_samples(data)}
    chosen = [(one, run, _worst(one, run, samples, worst)) for one in experiments for run in one.runs]
    requested = sum(len(scores) for *_, scores in chosen)
    drawn: list[Picture] = []
    with console.progress("masks of the worst photos", requested, "photos") as advance:
        for number, (experiment, run, scores) in enumerate(chosen):
            share = max_bytes // (len(chosen) - number)
            with closing(_pictures_of_run(experiment.name, run, scores, samples, makes)) as of_run:
                for picture in of_run:
                    if picture.n_bytes > share:
                        break
                    share -= picture.n_bytes
                    max_bytes -= picture.n_bytes
                    drawn.append(picture)
                    advance()
    scored = sum(len(experiment.scores) for experiment in experiments)
    return Pictures(drawn, requested, scored)


def _worst(experiment: Experiment, run: RunDir, samples: dict[str, Sample], count: int) -> pd.DataFrame:
    scores = experiment.scores
    of_run = scores[(scores["fold"] == run.fold) & scores["img"].isin(samples)]
    return of_run.nsmallest(count, "dice")


def _pictures_of_run(
    recipe_name: str, run: RunDir, scores: pd.DataFrame, samples: dict[str, Sample], makes: pd.Series
) -> Generator[Picture, None, None]:
    """Predict and draw photos in the order of their `scores`."""
    if scores.empty:
        return
    recipe = run.read_recipe()
    by_photo = {score["img"]: score for score in scores.to_dict("records")}

    def draw(prediction: Prediction) -> Picture:
        score = by_photo[prediction.sample.name]
        mask = rle.edges_to_mask(prediction.edges(recipe.threshold), prediction.photo_size)
        make = makes.get(score["car"], UNKNOWN)
        return _picture(recipe_name, score, make, prediction.sample, mask, prediction.maps[0])

    ensemble = WeightedEnsemble((FoldEnsemble.load([run], recipe),))
    yield from predict_stream(ensemble, [samples[img] for img in by_photo], draw)


def _picture(
    recipe: str, score: dict, make: str, sample: Sample, mask: np.ndarray, probabilities: np.ndarray
) -> Picture:
    truth = sample.read_mask()
    size = shown_size(mask.shape)
    (photo, reduced), _ = images.read_photo_sizes(sample.path, [None, size])
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
        photo=photo_url(reduced),
        truth=overlay([(truth, TRUTH)], size, share=0.5, opacity=0.55),
        mask=overlay([(mask, MASK)], size, share=0.5, opacity=0.55),
        difference=overlay(difference, size, share=_VISIBLE_SHARE, opacity=0.9),
        probability=heat_map(resize_map(probabilities, size)),
        crops=worst_crops(photo, truth, mask, probabilities),
    )
