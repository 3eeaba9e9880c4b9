"""Several networks merged into one Keras model, whose output is the mean of their probability maps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from carvana.backend import keras

ops = keras.ops


class ProbabilityMaps(NamedTuple):
    """Probability maps of a batch of photos, and how much the networks disagree on each."""

    maps: np.ndarray
    """(n, maps, height, width), float32, 0..1: the networks' mean, then each network's own if requested."""
    disagreement: np.ndarray
    """(n,), 0 and above: the sum over pixels of the networks' standard deviation, divided by the sum of their
    mean, i.e. the disagreement as a share of the car's area. 0 for a single network. The sums include
    the padding, and count pixels in which tiles overlap once per tile."""

    def of_photo(self, index: int) -> "ProbabilityMaps":
        """Return the maps of one photo of the batch: maps (maps, height, width), disagreement a scalar."""
        return ProbabilityMaps(self.maps[index], self.disagreement[index])


def merge_models(models: Sequence[keras.Model], *, flip: bool, per_fold: bool = False) -> keras.Model:
    """Merge several networks into one model.

    Args:
        models: map photos (n, height, width, channels), 0..255, to probabilities (n, height, width, 1).
        flip: average each network's map over the photo and its mirror image.
        per_fold: also return each network's own map.

    Returns:
        A model that maps photos, uint8, to a dictionary: `maps` (n, 1 or 1 + models, height, width), the mean
        first; `sums` (n, 2), the sums over pixels of the networks' standard deviation and of their mean.
    """
    photo = keras.Input(models[0].input_shape[1:], name="photo", dtype="uint8")
    members = SequentialEnsemble(models, flip=flip, per_fold=per_fold, name="members")
    return keras.Model(photo, members(photo), name="ensemble")


def disagreement(sums: np.ndarray) -> np.ndarray:
    """Return the disagreement (n,), as in `ProbabilityMaps`, of the `sums` (n, 2) of merged models."""
    return sums[:, 0] / np.maximum(sums[:, 1], 1)


class SequentialEnsemble(keras.layers.Layer):
    """Networks that run one after the other.

    If they ran side by side, TensorFlow would hold the feature maps of all of them in memory at once.
    """

    def __init__(self, models: Sequence[keras.Model], *, flip: bool, per_fold: bool, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.models, self.flip, self.per_fold = list(models), flip, per_fold

    def call(self, photos: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        """Return `maps` and `sums` as `merge_models` does."""
        photos = ops.cast(photos, "float32")
        maps = []
        for model in self.models:
            probabilities = model(photos, training=False)[..., 0]
            if self.flip:
                photos = _control_dependency(probabilities, photos)
                mirrored = ops.flip(model(ops.flip(photos, 2), training=False)[..., 0], 2)
                probabilities = (probabilities + mirrored) / 2
            photos = _control_dependency(probabilities, photos)
            maps.append(probabilities)
        stacked = ops.stack(maps, axis=1)
        mean = ops.mean(stacked, axis=1, keepdims=True)
        sums = [ops.sum(ops.std(stacked, axis=1), (1, 2)), ops.sum(mean, (1, 2, 3))]
        returned = ops.concatenate([mean, stacked], axis=1) if self.per_fold else mean
        return {"maps": returned, "sums": ops.stack(sums, axis=1)}


def _control_dependency(maps: keras.KerasTensor, photos: keras.KerasTensor) -> keras.KerasTensor:
    """Make the photos depend on the maps, without changing them.

    Adds floor(min / 2) of the maps (0..1), which is 0, so that the networks run one after the other.
    """
    return photos + ops.floor(ops.min(maps) / 2)
