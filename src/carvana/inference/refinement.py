"""Refinement of probability maps: patches along their contours, predicted at full resolution and pasted back.

Nearly all wrong pixels of a map that was predicted at a lower resolution lie within a few pixels of its contour, in
some 2% of the photo. Compare Boundary Patch Refinement, https://arxiv.org/abs/2104.05239.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from carvana.backend import keras
from carvana.inference.ensemble import merge_models
from carvana.models.build import load
from carvana.models.refiner import CHANNELS
from carvana.recipe import Recipe, Refine
from carvana.runs import RunDir

_CONTOUR_LEVEL = 0.5
"""Probability whose contour is refined."""

_CHUNK = 256
"""Patches that go through a network at once; fewer are filled up, because each new shape costs a compilation."""


class Refiner:
    """The refinement networks of a recipe's folds, averaged over networks and mirror images."""

    def __init__(
        self, models: Sequence[keras.Model], config: Refine, *, flip: bool, per_fold: bool = False
    ) -> None:
        """Initialize the refiner.

        Args:
            models: one refinement network per fold.
            config: size of photos and patches, and the spacing of these.
            flip: average each network over a patch and its mirror image.
            per_fold: also allow the index of a single network in `predict`.
        """
        self.config = config
        groups = [models, *([model] for model in models)] if per_fold else [models]
        self._models = [merge_models(group, flip=flip) for group in groups]

    @classmethod
    def load(cls, runs: Sequence[RunDir], recipe: Recipe, *, per_fold: bool = False) -> "Refiner":
        """Load the refinement network of each run, to predict as the recipe says."""
        assert recipe.refine is not None
        models = [load(run.refiner) for run in runs]
        return cls(models, recipe.refine, flip=recipe.tta != "none", per_fold=per_fold)

    def predict(self, patches: np.ndarray, index: int = 0) -> np.ndarray:
        """Predict patches.

        Args:
            patches: (n, patch, patch, 4), uint8, as `cut_patches` returns them.
            index: 0 for the mean over networks; with `per_fold`, k for the k-th network alone.

        Returns:
            (n, patch, patch), float32, 0..1.
        """
        chunks = []
        for first in range(0, len(patches), _CHUNK):
            chunk = patches[first : first + _CHUNK]
            filled = np.zeros((_CHUNK, *patches.shape[1:]), np.uint8)
            filled[: len(chunk)] = chunk
            chunks.append(self._models[index].predict_on_batch(filled)["maps"][: len(chunk), 0])
        return np.concatenate(chunks) if chunks else np.empty(patches.shape[:3], np.float32)


def patch_corners(probabilities: np.ndarray, config: Refine, size: tuple[int, int]) -> np.ndarray:
    """Place patches along the contours of a map.

    Walking along each contour, a patch is centred on every point that is at least `config.spacing` pixels, in row or
    column, from all centres before it. So there is at most one patch per square of that side, and each point of the
    contour lies within a patch. Where the car leaves the photo there is no contour. Patches that would leave the
    photo are moved inside.

    Args:
        probabilities: (h, w), float32, 0..1, of any resolution.
        config: patch and spacing in pixels of `size`.
        size: (height, width) of the photo, which is at least a patch.

    Returns:
        (n, 2), int64: row and column of the patches' top left pixels at `size`.
    """
    height, width = probabilities.shape
    car = (probabilities > _CONTOUR_LEVEL).view(np.uint8)
    on_contour = (car & ~cv2.erode(car, np.ones((3, 3), np.uint8))).view(
        bool
    )  # outside the photo counts as car
    contours, _ = cv2.findContours(car, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.empty((0, 2), np.int64)
    points = np.concatenate(contours)[:, 0, ::-1]
    points = points[on_contour[points[:, 0], points[:, 1]]]
    scale = np.array([size[0] / height, size[1] / width])
    reach = np.maximum(np.ceil(config.spacing / scale).astype(int) - 1, 0)
    covered = np.zeros((height, width), bool)
    centres = []
    for row, column in points.tolist():
        if not covered[row, column]:
            centres.append((row, column))
            top, left = max(0, row - reach[0]), max(0, column - reach[1])
            covered[top : row + reach[0] + 1, left : column + reach[1] + 1] = True
    middle = (np.array(centres).reshape(-1, 2) + 0.5) * scale - config.patch / 2
    return np.clip(np.rint(middle).astype(np.int64), 0, np.array(size) - config.patch)


def cut_patches(photo: np.ndarray, probabilities: np.ndarray, corners: np.ndarray, patch: int) -> np.ndarray:
    """Cut the inputs of the refinement network.

    Args:
        photo: (height, width, 3), uint8, RGB.
        probabilities: (h, w), float32, 0..1; it is resized to the photo's size.
        corners: (n, 2), as `patch_corners` returns them for the photo's size.
        patch: side of a patch.

    Returns:
        (n, patch, patch, 4), uint8, 0..255: the photo and the probability.
    """
    levels = cv2.convertScaleAbs(resize_map(probabilities, photo.shape[:2]), alpha=255)
    patches = np.empty((len(corners), patch, patch, CHANNELS), np.uint8)
    for number, (row, column) in enumerate(corners.tolist()):
        window = slice(row, row + patch), slice(column, column + patch)
        patches[number, ..., :3] = photo[window]
        patches[number, ..., 3] = levels[window]
    return patches


def paste(
    probabilities: np.ndarray,
    corners: np.ndarray,
    patches: np.ndarray,
    unrefined: np.ndarray | None = None,
) -> None:
    """Replace a map by refined patches where there are any.

    Where patches overlap, their mean is weighted by a pyramid that is highest at the middle of a patch.

    Args:
        probabilities: (height, width), float32, 0..1, which is changed in place.
        corners: (n, 2), as `patch_corners` returns them for the map's size.
        patches: (n, patch, patch), float32, 0..1.
        unrefined: (height, width), a map that is added to the patches: the weighted sum of the predictors of an
            ensemble that do not refine.
    """
    window = _pyramid(patches.shape[1])
    total, weight = np.zeros_like(probabilities), np.zeros_like(probabilities)
    places = [
        (slice(row, row + len(window)), slice(column, column + len(window)))
        for row, column in corners.tolist()
    ]
    for place, one in zip(places, patches, strict=True):
        total[place] += window * one
        weight[place] += window
    for place in places:
        probabilities[place] = total[place] / weight[place] + (0 if unrefined is None else unrefined[place])


def resize_map(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map (h, w) to `size` (height, width) by bilinear interpolation; the result is a new array."""
    return cv2.resize(probabilities, size[::-1], interpolation=cv2.INTER_LINEAR)


def _pyramid(side: int) -> np.ndarray:
    """Return the weights (side, side), float32, of a patch's pixels: the product of two triangles, above 0."""
    triangle = 1 - np.abs((np.arange(side, dtype=np.float32) + 0.5) * 2 / side - 1)
    return np.outer(triangle, triangle)
