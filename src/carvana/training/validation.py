"""The held-out photos of a fold, and the network's Dice on them at their own size."""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from carvana.backend import keras
from carvana.competition.dice import dice_from_counts
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.data.prefetch import prefetch
from carvana.inference.maps import mask_of, probability_maps
from carvana.models.build import size_spec
from carvana.recipe import Recipe

_AHEAD = 32
_OVERLAYS = 4
_TRUTH, _OURS = (0, 200, 80), (255, 40, 40)


class Validator:
    """Held-out photos, whose masks stay in memory as bits (0.3 MB a photo) once they are read."""

    def __init__(self, photos: Sequence[Sample], recipe: Recipe) -> None:
        """Take the held-out `photos` of a fold, asked as the recipe says."""
        self._photos = photos
        self._recipe = recipe
        self._truths: dict[int, tuple[np.ndarray, tuple[int, int]]] = {}

    def scores(self, model: keras.Model, size: tuple[int, int], tta: str) -> pd.DataFrame:
        """Ask the model at `size` (height, width): columns img and dice, a photo a row, in order."""

        def read(photo: Sample) -> np.ndarray:
            return images.read_photo(photo.path, size)

        def score(job: tuple[int, np.ndarray]) -> float:
            index, maps = job
            truth, own_size = self._truth(index)
            mask = np.packbits(mask_of(maps[0], own_size, self._recipe.threshold))
            shared, ours, theirs = (int(np.bitwise_count(bits).sum()) for bits in (mask & truth, mask, truth))
            return dice_from_counts(shared, ours, theirs)

        photos = prefetch(read, self._photos, ahead=_AHEAD)
        maps = probability_maps([model], photos, size_spec=size_spec(self._recipe), tta=tta)
        dice = list(prefetch(score, enumerate(maps), ahead=_AHEAD))
        return pd.DataFrame({"img": [photo.name for photo in self._photos], "dice": dice})

    def overlays(self, model: keras.Model, size: tuple[int, int]) -> list[np.ndarray]:
        """The first few cars at `size`, each (height, width, 3) uint8 with the model's edge over the true one."""
        cars = {photo.car: index for index, photo in reversed(list(enumerate(self._photos)))}
        chosen = sorted(cars.values())[:_OVERLAYS]
        photos = [images.read_photo(self._photos[index].path, size) for index in chosen]
        maps = probability_maps([model], photos, size_spec=size_spec(self._recipe))
        return [
            _with_edges(
                photo, images.resize(self._unpacked(index), size) > 0.5, of_model[0] > self._recipe.threshold
            )
            for index, photo, of_model in zip(chosen, photos, maps, strict=True)
        ]

    def _unpacked(self, index: int) -> np.ndarray:
        truth, own_size = self._truth(index)
        return np.unpackbits(truth, count=own_size[0] * own_size[1]).reshape(own_size).astype(np.float32)

    def _truth(self, index: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The mask as packed bits, and its (height, width)."""
        if index not in self._truths:
            mask = images.read_mask(self._photos[index].mask)
            self._truths[index] = np.packbits(mask), mask.shape
        return self._truths[index]


def _with_edges(photo: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    drawn = photo.copy()
    for edge_of, colour in ((truth, _TRUTH), (mask, _OURS)):
        outlines, _ = cv2.findContours(edge_of.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1)
    return drawn
