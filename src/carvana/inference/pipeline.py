"""Pipeline from photo to mask: decoding, networks and masks, as steps that run at the same time.

Validation, threshold search, test prediction, cut-outs and the report's gallery all use `predict_stream` and
`Prediction.edges`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from carvana.data import images
from carvana.data.dataset import Sample
from carvana.data.prefetch import CORES
from carvana.data.timing import PipelineTimer
from carvana.errors import UserError
from carvana.inference.contours import run_edges
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import WeightedEnsemble

R = TypeVar("R")

BATCH_SIZE = 16
"""Photos per batch."""

_BATCHES_AHEAD = 2
"""Batches in the networks' queue, so that the next one is ready when a batch is done."""

_ASPECT_TOLERANCE = 0.01
"""Relative difference of aspect ratios that is ignored: Carvana photos differ by 0.1% from the recipes' sizes."""


@dataclass(frozen=True)
class PreparedSample:
    """A photo that was decoded and resized for each predictor."""

    sample: Sample
    photo_size: tuple[int, int]
    """The photo's own (height, width)."""
    inputs: list[np.ndarray]
    """Each predictor's input."""


@dataclass(frozen=True)
class Prediction:
    """A photo and its probability maps."""

    sample: Sample
    photo_size: tuple[int, int]
    """The photo's own (height, width)."""
    maps: np.ndarray
    """(maps, h, w), float32, 0..1: the ensemble's mean, then each network's own if requested."""
    disagreement: float
    """Disagreement of the networks, as in `ProbabilityMaps`."""

    def edges(self, threshold: float, index: int = 0) -> np.ndarray:
        """Return the run edges of a map's mask at the photo's own size; `rle` makes masks and text of them.

        Args:
            threshold: pixels whose probability is above it are car.
            index: the map; 0 is the ensemble's mean.

        Returns:
            Alternating starts and stops of the runs, 0-indexed pixels in row order, ascending, int64.
        """
        return run_edges(self.maps[index], self.photo_size, threshold)


def predict_stream(
    ensemble: WeightedEnsemble,
    samples: Iterable[Sample],
    finish: Callable[[Prediction], R],
    *,
    timer: PipelineTimer | None = None,
    keep_aspect: bool = False,
    finish_workers: int = CORES,
    batch_ends: Callable[[int], bool] = lambda count: False,
) -> Iterator[R]:
    """Predict samples and yield `finish(prediction)` for each, in order.

    Memory does not grow with the number of samples: each step holds a few batches.

    Args:
        ensemble: predicts the maps.
        samples: the photos to predict; they are drawn as results are taken.
        finish: makes the result; called in threads.
        timer: measures how busy each step is.
        keep_aspect: as in `prepare`.
        finish_workers: number of threads for `finish`.
        batch_ends: whether a batch must end after the given number of samples.

    Raises:
        UserError: a photo is not a complete image.
    """
    timer = timer or PipelineTimer()

    def prepare_one(sample: Sample) -> PreparedSample:
        return prepare(ensemble, sample, keep_aspect=keep_aspect)

    def predict(batch: list[PreparedSample]) -> list[tuple[PreparedSample, list[ProbabilityMaps]]]:
        predictions = ensemble.predict(list(zip(*(prepared.inputs for prepared in batch), strict=True)))
        return [
            (prepared, [maps.of_photo(index) for maps in predictions]) for index, prepared in enumerate(batch)
        ]

    def combine(predicted: tuple[PreparedSample, list[ProbabilityMaps]]) -> R:
        prepared, predictions = predicted
        combined = ensemble.combine(predictions)
        return finish(
            Prediction(prepared.sample, prepared.photo_size, combined.maps, float(combined.disagreement))
        )

    prepared = timer.map("decoding", prepare_one, samples, ahead=2 * BATCH_SIZE)
    batches = timer.map("networks", predict, _batches(prepared, batch_ends), ahead=_BATCHES_AHEAD, workers=1)
    predicted = (one for batch in batches for one in batch)
    return timer.map("masks", combine, predicted, ahead=2 * BATCH_SIZE, workers=finish_workers)


def prepare(ensemble: WeightedEnsemble, sample: Sample, *, keep_aspect: bool = False) -> PreparedSample:
    """Decode and resize a photo for each predictor of an ensemble.

    Args:
        ensemble: its predictors' sizes are used.
        sample: the photo; a JPEG, and with `keep_aspect` any image.
        keep_aspect: resize photos of another shape to `fit_size`, not to the predictors' exact size.

    Raises:
        UserError: the photo is not a complete image, or a predictor cannot prepare it.
    """
    resizing = [predictor for predictor in ensemble.predictors if predictor.size]
    if keep_aspect:
        pixels, photo_size = images.read_image_sizes(
            sample.path,
            lambda own: [
                fit_size(own, one.size) if one.any_size and one.size else one.size for one in resizing
            ],
        )
    else:
        pixels, photo_size = images.read_photo_sizes(sample.path, [one.size for one in resizing])
    resized = iter(pixels)
    inputs = [
        predictor.prepare(sample.name, next(resized) if predictor.size else None)
        for predictor in ensemble.predictors
    ]
    return PreparedSample(sample, photo_size, inputs)


def fit_size(photo_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) with the photo's aspect ratio and about as many pixels as `size`.

    A portrait photo that is squeezed into a landscape size shows a car unlike any training photo.
    """
    if abs(photo_size[0] * size[1] / (photo_size[1] * size[0]) - 1) <= _ASPECT_TOLERANCE:
        return size
    scale = math.sqrt(math.prod(size) / math.prod(photo_size))
    return max(1, round(photo_size[0] * scale)), max(1, round(photo_size[1] * scale))


def _batches(
    samples: Iterable[PreparedSample], ends: Callable[[int], bool]
) -> Iterator[list[PreparedSample]]:
    """Group samples whose inputs have the same shapes; a broken photo is raised after those before it."""
    batch: list[PreparedSample] = []
    try:
        for count, prepared in enumerate(samples, start=1):
            if batch and _shapes(prepared) != _shapes(batch[0]):
                yield batch
                batch = []
            batch.append(prepared)
            if len(batch) == BATCH_SIZE or ends(count):
                yield batch
                batch = []
    except UserError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _shapes(prepared: PreparedSample) -> Sequence[tuple[int, ...]]:
    return [one.shape for one in prepared.inputs]
