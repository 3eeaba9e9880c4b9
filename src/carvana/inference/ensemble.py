"""Several networks asked together: each batch of photos is loaded once, and what comes back is their mean."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from carvana.backend import keras
from carvana.data import images
from carvana.data.padding import SizeSpec, crop, pad
from carvana.inference.tiles import predict_tiled

ops = keras.ops

SCALES = {"scales": (1.0, 0.9, 1.1)}
"""Of the photo, by the recipe's tta; any other asks at 1 alone."""

_PIXELS = 16 * 512 * 768
"""Of photos that go through a network at once: a map of 64 filters takes 1.6 GB then."""


class ProbabilityMaps(NamedTuple):
    """What networks say of a batch of photos."""

    maps: np.ndarray
    """(n, maps, height, width), float32, 0..1: the networks' mean and, where asked for, each one's own after it."""
    disagreement: np.ndarray
    """(n,): how far the networks disagree, as a share of the car: the sum over pixels of their standard
    deviation, divided by that of their mean. 0 of a single one."""

    def of_photo(self, number: int) -> "ProbabilityMaps":
        """Those of one photo of the batch: maps (maps, height, width), disagreement ()."""
        return ProbabilityMaps(self.maps[number], self.disagreement[number])


class ModelEnsemble:
    """ModelEnsemble that eat photos of the same sizes, and the views of a photo that they are asked for."""

    def __init__(
        self, models: Sequence[keras.Model], size_spec: SizeSpec, *, tta: str = "none", per_fold: bool = False
    ) -> None:
        """Take networks.

        Args:
            models: one a fold.
            size_spec: what sizes they eat; photos are padded, and maps cut, to it.
            tta: `none`; `flip`, the mean over a photo and its mirror image; `scales`, that at three sizes.
            per_fold: also give each network's own map.
        """
        self._size_spec = size_spec
        self._scales = SCALES.get(tta, (1.0,))
        # A single network needs none of what is around it, and keeps its compiled function from call to call.
        plain = len(models) == 1 and tta == "none"
        self._network = models[0] if plain else merge_models(models, flip=tta != "none", per_fold=per_fold)

    @property
    def any_size(self) -> bool:
        """Whether they eat photos of any size; a PSPNet is built for one."""
        return self._network.input_shape[1] is None

    def predict(self, photos: np.ndarray) -> ProbabilityMaps:
        """Ask for the maps of photos (n, height, width, 3), uint8, 0..255."""
        size = photos.shape[1:3]
        asked = [self._at(photos, _scaled(size, scale)) for scale in self._scales]
        if len(asked) == 1:
            return asked[0]
        # In place and in the order of the scales: the sum's last digit depends on it.
        total = asked[0].maps
        for maps, _ in asked[1:]:
            total += np.stack([[images.resize(one, size) for one in of_photo] for of_photo in maps])
        return ProbabilityMaps(
            total / len(asked), np.mean([disagreement for _, disagreement in asked], axis=0)
        )

    def _at(self, photos: np.ndarray, size: tuple[int, int]) -> ProbabilityMaps:
        padded = np.stack(
            [pad(images.resize(photo, size), self._size_spec.input_size(size)) for photo in photos]
        )
        sums = np.zeros((len(photos), 2))

        def predict(tile: np.ndarray) -> np.ndarray:
            maps, found = self._in_chunks(tile)
            sums[:] += found
            return maps

        # Without a margin tiles would not agree with the whole at their edges.
        maps = predict_tiled(predict, padded, self._size_spec) if self._size_spec.margin else predict(padded)
        cut_maps = np.stack([[crop(one, size) for one in of_photo] for of_photo in maps])
        return ProbabilityMaps(cut_maps, sums[:, 0] / np.maximum(sums[:, 1], 1))

    def _in_chunks(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at_once = max(1, _PIXELS // (photos.shape[1] * photos.shape[2]))
        answers = [self._answer(photos[first : first + at_once]) for first in range(0, len(photos), at_once)]
        maps, sums = zip(*answers, strict=True)
        return np.concatenate(maps), np.concatenate(sums)

    def _answer(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answer = self._network.predict_on_batch(photos)
        if isinstance(answer, dict):
            return answer["maps"], answer["sums"]
        return answer[..., 0][:, None], np.zeros((len(photos), 2), np.float32)


def merge_models(models: Sequence[keras.Model], *, flip: bool, per_fold: bool = False) -> keras.Model:
    """One network of several.

    Args:
        models: from photos (n, height, width, 3), 0..255, to probabilities (n, height, width, 1).
        flip: ask each for the mirror images too.
        per_fold: also give each one's own map.

    Returns:
        A network from photos, uint8, to a dictionary: `maps` (n, 1 or 1 + models, height, width), their mean
        first, and `sums` (n, 2), over pixels, of their standard deviation and of their mean.
    """
    photo = keras.Input((*models[0].input_shape[1:3], 3), name="photo", dtype="uint8")
    return keras.Model(
        photo,
        SequentialEnsemble(models, flip=flip, per_fold=per_fold, name="in_turn")(photo),
        name="ensemble",
    )


class SequentialEnsemble(keras.layers.Layer):
    """Models one after the other: side by side TensorFlow would hold the feature maps of all of them."""

    def __init__(self, models: Sequence[keras.Model], *, flip: bool, per_fold: bool, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.models, self.flip, self.per_fold = list(models), flip, per_fold

    def call(self, photos: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        photos = ops.cast(photos, "float32")
        maps = []
        for model in self.models:
            own = model(photos, training=False)[..., 0]
            if self.flip:
                photos = _control_dependency(own, photos)
                own = (own + ops.flip(model(ops.flip(photos, 2), training=False)[..., 0], 2)) / 2
            photos = _control_dependency(own, photos)
            maps.append(own)
        stacked = ops.stack(maps, axis=1)
        mean = ops.mean(stacked, axis=1, keepdims=True)
        sums = [ops.sum(ops.std(stacked, axis=1), (1, 2)), ops.sum(mean, (1, 2, 3))]
        together = ops.concatenate([mean, stacked], axis=1) if self.per_fold else mean
        return {"maps": together, "sums": ops.stack(sums, axis=1)}


def _control_dependency(maps: keras.KerasTensor, photos: keras.KerasTensor) -> keras.KerasTensor:
    """The photos unchanged, but not before the maps (0..1) are there: half of a probability rounds down to 0."""
    return photos + ops.floor(ops.min(maps) / 2)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return round(size[0] * scale), round(size[1] * scale)
