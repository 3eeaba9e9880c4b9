"""Pipeline from a photo to its mask, as steps that run at the same time.

The steps are decoding, networks and masks. If the networks' map is refined, the patches along its contour are cut and
go through the refinement networks before the last step.

Validation, threshold search, test prediction, cut-outs and the report's gallery all use `predict_stream` and
`Prediction.edges`.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from carvana.inference.standalone import cut_patches, paste, patch_corners, resize_map
from carvana.models.refiner import CHANNELS
from carvana.recipe import Refine

T = TypeVar("T")
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
class _Predicted:
    """A photo, the maps of each predictor, and the patches along the contours of their mean."""

    prepared: PreparedSample
    predictions: list[ProbabilityMaps]
    """Each predictor's maps."""
    n_batch: int
    """Number of photos in the batch of the networks."""
    combined: ProbabilityMaps | None = None
    """Mean of the predictors' maps, each (maps, h, w); None before patches are cut."""
    corners: tuple[np.ndarray, ...] = ()
    """Top left pixels of the patches of each map, as `patch_corners` returns them."""
    patches: tuple[np.ndarray, ...] = ()
    """Patches of each map: first the inputs of the refinement networks, uint8, then their outputs, float32."""
    refined_size: tuple[int, int] = (0, 0)
    """(height, width) at which the patches are cut."""


@dataclass(frozen=True)
class Prediction:
    """A photo and its probability maps."""

    sample: Sample
    photo_size: tuple[int, int]
    """The photo's own (height, width)."""
    maps: np.ndarray
    """(maps, h, w), float32, 0..1: the ensemble's mean, then each network's own if requested; refined, and then at
    the size of the recipe's `refine`, if the ensemble refines."""
    disagreement: float
    """Disagreement of the networks, as in `ProbabilityMaps`."""
    coarse: np.ndarray | None = None
    """The ensemble's mean (h, w) before refinement; None if the ensemble does not refine."""

    def probability(self) -> np.ndarray:
        """Return the ensemble's mean at the photo's own size, (height, width), float32, 0..1."""
        return images.resize(self.maps[0], self.photo_size)

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
    refine = ensemble.refine

    def prepare_one(sample: Sample) -> PreparedSample:
        return prepare(ensemble, sample, keep_aspect=keep_aspect)

    def predict(batch: list[PreparedSample]) -> list[_Predicted]:
        predictions = ensemble.predict(list(zip(*(prepared.inputs for prepared in batch), strict=True)))
        return [
            _Predicted(prepared, [maps.of_photo(index) for maps in predictions], len(batch))
            for index, prepared in enumerate(batch)
        ]

    def cut(predicted: _Predicted) -> _Predicted:
        assert refine is not None
        return _cut_patches(ensemble, refine, predicted, keep_aspect)

    def combine(predicted: _Predicted) -> R:
        return finish(_combine(ensemble, predicted))

    prepared = timer.map("decoding", prepare_one, samples, ahead=2 * BATCH_SIZE)
    batches = timer.map("networks", predict, _batches(prepared, batch_ends), ahead=_BATCHES_AHEAD, workers=1)
    predicted = (one for batch in batches for one in batch)
    if refine is not None:
        with_patches = timer.map("patches", cut, predicted, ahead=BATCH_SIZE)
        batches = timer.map(
            "refinement", partial(_refine, ensemble), _same_batches(with_patches), ahead=1, workers=1
        )
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
        pixels, photo_size = sample.read_image_sizes(
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

    A portrait photo that is squeezed into a landscape size is unlike any training photo.
    """
    if abs(photo_size[0] * size[1] / (photo_size[1] * size[0]) - 1) <= _ASPECT_TOLERANCE:
        return size
    scale = math.sqrt(math.prod(size) / math.prod(photo_size))
    return max(1, round(photo_size[0] * scale)), max(1, round(photo_size[1] * scale))


def _cut_patches(
    ensemble: WeightedEnsemble, refine: Refine, predicted: _Predicted, keep_aspect: bool
) -> _Predicted:
    """Average the predictors' maps, and cut the patches along the contours of the mean and of each network's map."""
    prepared = predicted.prepared
    combined = ensemble.combine(predicted.predictions)
    size = refine.size
    if keep_aspect:
        height, width = fit_size(prepared.photo_size, refine.size)
        size = max(height, refine.patch), max(width, refine.patch)
    corners = tuple(patch_corners(one, size, refine.patch, refine.spacing) for one in combined.maps)
    if any(map(len, corners)):
        read = prepared.sample.read_image_sizes(lambda _: [size])
        photo = read[0][0]
        patches = tuple(
            cut_patches(photo, one, map_corners, refine.patch)
            for one, map_corners in zip(combined.maps, corners, strict=True)
        )
    else:
        patches = tuple(np.empty((0, refine.patch, refine.patch, CHANNELS), np.uint8) for _ in corners)
    return replace(predicted, combined=combined, corners=corners, patches=patches, refined_size=size)


def _refine(ensemble: WeightedEnsemble, batch: list[_Predicted]) -> list[_Predicted]:
    """Replace the patches of a batch of photos by the outputs of the refinement networks."""
    outputs = []
    for index, of_photos in enumerate(zip(*(one.patches for one in batch), strict=True)):
        refined = ensemble.refine_patches(np.concatenate(of_photos), index)
        outputs.append(np.split(refined, np.cumsum([len(patches) for patches in of_photos])[:-1]))
    return [replace(one, patches=patches) for one, *patches in zip(batch, *outputs, strict=True)]


def _combine(ensemble: WeightedEnsemble, predicted: _Predicted) -> Prediction:
    """Average the predictors' maps of a photo, and paste the refined patches if there are any."""
    prepared = predicted.prepared
    combined = predicted.combined
    if combined is None:
        combined = ensemble.combine(predicted.predictions)
        return Prediction(prepared.sample, prepared.photo_size, combined.maps, float(combined.disagreement))
    maps = np.stack([resize_map(one, predicted.refined_size) for one in combined.maps])
    unrefined = ensemble.unrefined(predicted.predictions, predicted.refined_size)
    for one, corners, patches in zip(maps, predicted.corners, predicted.patches, strict=True):
        paste(one, corners, patches, unrefined)
    return Prediction(
        prepared.sample, prepared.photo_size, maps, float(combined.disagreement), combined.maps[0]
    )


def _batches(
    samples: Iterable[PreparedSample], ends: Callable[[int], bool]
) -> Iterator[list[PreparedSample]]:
    """Group samples whose inputs have the same shapes."""
    numbers = itertools.count(1)

    def is_full(batch: list[PreparedSample]) -> bool:
        return ends(next(numbers)) or len(batch) == BATCH_SIZE

    return _grouped(samples, is_full, lambda batch, sample: _shapes(sample) == _shapes(batch[0]))


def _same_batches(predicted: Iterable[_Predicted]) -> Iterator[list[_Predicted]]:
    """Group photos into the batches in which the networks predicted them."""
    return _grouped(predicted, lambda batch: len(batch) == batch[0].n_batch)


def _grouped(
    items: Iterable[T],
    is_full: Callable[[list[T]], bool],
    fits: Callable[[list[T], T], bool] = lambda batch, item: True,
) -> Iterator[list[T]]:
    """Group items into batches; a broken photo is raised after those before it.

    Args:
        items: the items, in order.
        is_full: whether a batch ends; called once after each item.
        fits: whether an item may join the batch before it.
    """
    batch: list[T] = []
    try:
        for item in items:
            if batch and not fits(batch, item):
                yield batch
                batch = []
            batch.append(item)
            if is_full(batch):
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
