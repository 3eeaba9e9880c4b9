"""From photos to probability maps, and from a map to a mask."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from carvana.backend import keras
from carvana.competition import rle
from carvana.data.padding import Frame, cut, pad
from carvana.prediction.band import edges_at
from carvana.prediction.tiles import in_tiles

_PIXELS = 16 * 512 * 768
"""Of photos that go through a network at once: a map of 64 filters takes 1.6 GB then."""


def probability_maps(
    models: Sequence[keras.Model],
    photos: Iterable[np.ndarray],
    *,
    frame: Frame,
    tta: str = "none",
    batch: int = 16,
) -> Iterator[np.ndarray]:
    """Ask each model for each photo's probability map.

    Args:
        models: one a fold.
        photos: of one size, (height, width, 3), uint8, 0..255; drawn a batch at a time.
        frame: what sizes the models eat; photos are padded and maps cut to it.
        tta: `none`, or `flip` for the mean over a photo and its mirror image.
        batch: photos that go through a model at once; fewer where they are large.

    Yields:
        For each photo (models, height, width), float32, 0..1.
    """
    photos = iter(photos)
    while chunk := list(islice(photos, batch)):
        size = chunk[0].shape[:2]
        padded = np.stack([pad(photo, frame.input_size(size)) for photo in chunk])
        maps = np.stack([_with_views(model, padded, frame, tta) for model in models], axis=1)
        for of_photo in maps:
            yield np.stack([cut(of_model, size) for of_model in of_photo])


def mask_of(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """The mask at a photo's own size, bool: the map is upsampled first and thresholded last.

    Thresholding first would cost 0.0024 Dice at 288x432.

    Args:
        probabilities: (h, w), float32, 0..1.
        size: (height, width) of the photo.
        threshold: car is where the probability is above it.
    """
    return rle.painted(edges_at(probabilities, size, threshold), size)


def _with_views(model: keras.Model, photos: np.ndarray, frame: Frame, tta: str) -> np.ndarray:
    maps = _whole(model, photos, frame)
    if tta == "none":
        return maps
    mirrored = _whole(model, np.ascontiguousarray(photos[:, :, ::-1]), frame)
    return (maps + mirrored[:, :, ::-1]) / 2


def _whole(model: keras.Model, photos: np.ndarray, frame: Frame) -> np.ndarray:
    # Without a margin tiles would not agree with the whole at their edges.
    return in_tiles(partial(_ask, model), photos, frame) if frame.margin else _ask(model, photos)


def _ask(model: keras.Model, photos: np.ndarray) -> np.ndarray:
    at_once = max(1, _PIXELS // (photos.shape[1] * photos.shape[2]))
    maps = [
        model.predict_on_batch(photos[first : first + at_once])[..., 0]
        for first in range(0, len(photos), at_once)
    ]
    return np.concatenate(maps)
