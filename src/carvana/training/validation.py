"""Validation: the Dice of a network on the held-out photos of a fold, at their own size."""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from carvana.backend import keras
from carvana.competition import rle
from carvana.competition.dice import dice_from_edges
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.models.build import size_spec
from carvana.recipe import Recipe

_OVERLAYS = 4
_TRUE_COLOUR, _PREDICTED_COLOUR = (0, 200, 80), (255, 40, 40)


class Validator:
    """Scorer of networks on the held-out photos of a fold.

    True masks are kept in memory as run edges (10 kB each) once read.
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe) -> None:
        """Initialize with the held-out samples of a fold, and the recipe to predict them with."""
        self._samples = samples
        self._recipe = recipe
        self._true_edges: dict[str, np.ndarray] = {}

    def scores(self, model: keras.Model, size: tuple[int, int], tta: str) -> pd.DataFrame:
        """Score a network on all samples.

        Args:
            model: the network.
            size: (height, width) that photos are resized to.
            tta: test-time augmentation, as in `FoldEnsemble`.

        Returns:
            Columns img and dice, one row per sample, in order.
        """

        def score(prediction: Prediction) -> float:
            edges = prediction.edges(self._recipe.threshold)
            return dice_from_edges(edges, self._edges_of(prediction.sample))

        dice = list(predict_stream(self._ensemble(model, size, tta), self._samples, score))
        return pd.DataFrame({"img": [sample.name for sample in self._samples], "dice": dice})

    def overlays(self, model: keras.Model, size: tuple[int, int]) -> list[np.ndarray]:
        """Draw the predicted and the true contours over a photo of each of the first few cars.

        Args:
            model: the network.
            size: (height, width) that photos are resized to, and of the result.

        Returns:
            Images (height, width, 3), uint8, RGB.
        """

        def draw(prediction: Prediction) -> np.ndarray:
            photo = images.read_photo(prediction.sample.path, size)
            masks = (self._edges_of(prediction.sample), prediction.edges(self._recipe.threshold))
            for edges, colour in zip(masks, (_TRUE_COLOUR, _PREDICTED_COLOUR), strict=True):
                mask = images.mask_coverage(rle.edges_to_mask(edges, prediction.photo_size), size) > 127
                contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(photo, contours, -1, colour, 1)
            return photo

        first_of_car: dict[str, Sample] = {}
        for sample in self._samples:
            first_of_car.setdefault(sample.car, sample)
        chosen = list(first_of_car.values())[:_OVERLAYS]
        return list(predict_stream(self._ensemble(model, size, "none"), chosen, draw))

    def _ensemble(self, model: keras.Model, size: tuple[int, int], tta: str) -> WeightedEnsemble:
        return WeightedEnsemble((FoldEnsemble([model], size_spec(self._recipe), size, tta=tta),))

    def _edges_of(self, sample: Sample) -> np.ndarray:
        """Return the run edges of the true mask."""
        if sample.name not in self._true_edges:
            self._true_edges[sample.name] = rle.mask_to_edges(sample.read_mask())
        return self._true_edges[sample.name]
