"""The stream from photos to what is made of their maps: decoding | networks | masks, as stages that overlap."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from carvana.data.dataset import Sample
from carvana.data.prefetch import CORES
from carvana.data.timing import PipelineTimer
from carvana.errors import UserError
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import WeightedEnsemble

R = TypeVar("R")

BATCH = 16
"""Photos shown to the networks at once."""

_BATCHES_AHEAD = 2
"""With the networks, so that one waits when another is done."""


@dataclass(frozen=True)
class PreparedSample:
    """A photo as the sources are shown it."""

    sample: Sample
    photo_size: tuple[int, int]
    """Its own (height, width)."""
    inputs: list[np.ndarray]
    """What each source needs of it."""


@dataclass(frozen=True)
class Prediction:
    """A photo and its maps."""

    sample: PreparedSample
    maps: np.ndarray
    """(maps, h, w), float32, 0..1: the mean first, and each network's own after it where asked for."""
    disagreement: float
    """As `ProbabilityMaps` has it."""


def predict_stream(
    blend: WeightedEnsemble,
    photos: Iterable[Sample],
    finish: Callable[[Prediction], R],
    *,
    stages: PipelineTimer,
    read: Callable[[Sample], PreparedSample] | None = None,
    finishers: int = CORES,
    batch_ends: Callable[[int], bool] = lambda count: False,
) -> Iterator[R]:
    """Reporter photos to a blend, and yield what `finish` makes of each answer, in order.

    Memory does not grow with the number of photos: a few batches lie in each stage.

    Args:
        blend: whom to ask.
        photos: to predict.
        finish: called in threads.
        stages: notes which stage is the slowest.
        read: called in threads; by default a photo as the blend needs it.
        finishers: threads for `finish`.
        batch_ends: whether a batch must end after this many photos.
    """

    def plain(photo: Sample) -> PreparedSample:
        views, photo_size = blend.read(photo)
        return PreparedSample(photo, photo_size, views)

    def predict(batch: list[PreparedSample]) -> list[tuple[PreparedSample, list[ProbabilityMaps]]]:
        said = blend.predict(list(zip(*(seen.inputs for seen in batch), strict=True)))
        return [(seen, [one.of_photo(number) for one in said]) for number, seen in enumerate(batch)]

    def end(answered: tuple[PreparedSample, list[ProbabilityMaps]]) -> R:
        seen, said = answered
        return finish(Prediction(seen, *blend.combine(said)))

    seen = stages.stage("decoding", read or plain, photos, ahead=2 * BATCH)
    batches = _batches(seen, batch_ends)
    asked = stages.stage("networks", predict, batches, ahead=_BATCHES_AHEAD, workers=1)
    one_by_one = (answered for batch in asked for answered in batch)
    return stages.stage("masks", end, one_by_one, ahead=2 * BATCH, workers=finishers)


def _batches(photos: Iterable[PreparedSample], ends: Callable[[int], bool]) -> Iterator[list[PreparedSample]]:
    """Photos that are seen at the same sizes, together. What was read before one that is broken has its turn."""
    batch: list[PreparedSample] = []
    try:
        for count, seen in enumerate(photos, start=1):
            if batch and _sizes(seen) != _sizes(batch[0]):
                yield batch
                batch = []
            batch.append(seen)
            if len(batch) == BATCH or ends(count):
                yield batch
                batch = []
    except UserError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _sizes(seen: PreparedSample) -> Sequence[tuple[int, ...]]:
    return [view.shape for view in seen.inputs]
