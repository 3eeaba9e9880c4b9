"""The stream from photos to run-length rows: decode | networks | upsample, threshold, encode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from carvana.backend import keras
from carvana.competition import rle
from carvana.data import images
from carvana.data.folder import Photo
from carvana.data.prefetch import prefetch
from carvana.models import build
from carvana.models.run import Run
from carvana.prediction.maps import mask_of, probability_maps
from carvana.recipe import Recipe

_BATCH = 16
_AHEAD = 2 * _BATCH
"""Photos decoded before, and masks under way after, the networks: all that lies in memory at once."""


@dataclass(frozen=True)
class Ensemble:
    """The networks of a recipe's folds, and how they are asked."""

    models: Sequence[keras.Model]
    recipe: Recipe

    @classmethod
    def load(cls, runs: Sequence[Run], recipe: Recipe) -> "Ensemble":
        """Load the best weights of each run."""
        return cls([build.load(run.model) for run in runs], recipe)


def rle_rows(
    ensemble: Ensemble, photos: Sequence[Photo], *, each: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Predict photos, in order; memory does not grow with their number.

    Args:
        ensemble: asked as its recipe says (size, tta, threshold).
        photos: to predict.
        each: also give each network's own mask.

    Yields:
        A photo's name, and the run-length texts of its masks: the mean of all networks first, and with
        `each` those of the networks after it.
    """
    recipe = ensemble.recipe

    def read(photo: Photo) -> np.ndarray:
        return images.read_photo(photo.path, recipe.size)

    def finish(job: tuple[Photo, np.ndarray]) -> tuple[str, list[str]]:
        photo, maps = job
        size = images.photo_size(photo.path)
        chosen = [maps.mean(axis=0), *(maps if each else ())]
        return photo.name, [rle.encode(mask_of(one, size, recipe.threshold)) for one in chosen]

    maps = probability_maps(
        ensemble.models,
        prefetch(read, photos, ahead=_AHEAD),
        frame=build.frame_of(recipe),
        tta=recipe.tta,
        batch=_BATCH,
    )
    return prefetch(finish, zip(photos, maps, strict=True), ahead=_AHEAD)
