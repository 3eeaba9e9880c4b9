"""Validation: the Dice of a network on the held-out photos of a fold, at their own size."""

from collections.abc import Sequence
from itertools import groupby

import cv2
import numpy as np
import pandas as pd

from carvana.backend import keras
from carvana.competition import rle
from carvana.competition.dice import dice_from_edges
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.evaluation import errors
from carvana.evaluation.contour_distance import error_counts
from carvana.inference.contours import run_edges
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.inference.refinement import Refiner
from carvana.models.build import size_spec
from carvana.recipe import Recipe
from carvana.runs import RunDir

_OVERLAYS = 4
_TRUE_COLOUR, _PREDICTED_COLOUR = (0, 200, 80), (255, 40, 40)


class Validator:
    """Scorer of networks on the held-out photos of a fold.

    True masks are kept in memory as run edges (10 kB each) once they are read.
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe) -> None:
        """Initialize with the held-out samples of a fold, and the recipe to predict them with."""
        self._samples = samples
        self._recipe = recipe
        self._true_edges: dict[str, np.ndarray] = {}

    def one_per_car(self) -> "Validator":
        """Return a validator of one photo of each car, at angles that take turns."""
        by_car = groupby(sorted(self._samples, key=lambda sample: sample.name), key=lambda sample: sample.car)
        photos = [list(of_car) for _, of_car in by_car]
        return Validator([of_car[number % len(of_car)] for number, of_car in enumerate(photos)], self._recipe)

    def mean_dice(self, model: keras.Model, size: tuple[int, int], refiner: Refiner | None = None) -> float:
        """Return the mean Dice of a network on all samples, without test-time augmentation.

        Args:
            model: the network.
            size: (height, width) that photos are resized to.
            refiner: refines the network's maps.
        """
        dice = predict_stream(self.ensemble(model, size, refiner), self._samples, self._dice)
        return float(np.mean(list(dice)))

    def final_scores(self, run: RunDir) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Score the saved networks of a run on all samples, predicted as test photos are.

        Returns:
            The tables `scores.csv`, with columns img and dice and one row per sample, in order; and `errors.csv`.
        """
        ensemble = WeightedEnsemble((FoldEnsemble.load([run], self._recipe),))
        by_photo = list(predict_stream(ensemble, self._samples, self._errors))
        scores = pd.DataFrame(
            [(img, dice) for *_, (img, _, dice, _) in by_photo],  # the resulting mask is the last one
            columns=["img", "dice"],
        )
        return scores, errors.error_table(row for rows in by_photo for row in rows)

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
        return list(predict_stream(self.ensemble(model, size), chosen, draw))

    def ensemble(
        self, model: keras.Model, size: tuple[int, int], refiner: Refiner | None = None
    ) -> WeightedEnsemble:
        """Return the ensemble that predicts with a network, and a refiner, without test-time augmentation."""
        return WeightedEnsemble((FoldEnsemble([model], size_spec(self._recipe), size, refiner=refiner),))

    def _dice(self, prediction: Prediction) -> float:
        edges = prediction.edges(self._recipe.threshold)
        return dice_from_edges(edges, self._edges_of(prediction.sample))

    def _errors(self, prediction: Prediction) -> list[tuple[str, str, float, np.ndarray]]:
        """Return the rows of `errors.csv` of a photo; the last one is that of the resulting mask."""
        edges_of_maps = {}
        if prediction.coarse is not None:
            threshold = self._recipe.threshold
            edges_of_maps[errors.COARSE] = run_edges(prediction.coarse, prediction.photo_size, threshold)
        resulting = errors.COARSE if prediction.coarse is None else errors.REFINED
        edges_of_maps[resulting] = prediction.edges(self._recipe.threshold)
        true_edges = self._edges_of(prediction.sample)
        true = rle.edges_to_mask(true_edges, prediction.photo_size)
        return [
            (
                prediction.sample.name,
                name,
                dice_from_edges(edges, true_edges),
                error_counts(rle.edges_to_mask(edges, prediction.photo_size), true),
            )
            for name, edges in edges_of_maps.items()
        ]

    def _edges_of(self, sample: Sample) -> np.ndarray:
        """Return the run edges of the true mask."""
        if sample.name not in self._true_edges:
            self._true_edges[sample.name] = rle.mask_to_edges(sample.read_mask())
        return self._true_edges[sample.name]
