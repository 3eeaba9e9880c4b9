"""Speed of an engine, measured on random photos."""

import time
from collections.abc import Callable

import numpy as np

from carvana.inference.config import EngineConfig, EnsembleMember
from carvana.inference.pipeline import BATCH_SIZE
from carvana.inference.predictors import FoldEnsemble
from carvana.models.refiner import CHANNELS

_SECONDS = 1.0
"""Seconds of timed calls of a network after which no further one begins."""

_PATCHES_PER_PHOTO = 90
"""Patches along the contour of a car on a photo of the competition, with `refine.spacing = 32`."""

_PATCHES = 256
"""Patches per timed call."""


def photos_per_second(member: EnsembleMember, engine: EngineConfig) -> float:
    """Measure how many photos per second the networks of a member's first fold predict, without decoding and masks.

    Args:
        member: a recipe and its runs.
        engine: the engine to measure.
    """
    recipe, rng = member.recipe, np.random.default_rng(0)
    assert recipe is not None
    ensemble = FoldEnsemble.load(member.runs[:1], recipe, engine=engine)
    photos = list(rng.integers(256, size=(BATCH_SIZE, *recipe.size, 3), dtype=np.uint8))
    seconds = _seconds_per_call(lambda: ensemble.predict(photos)) / len(photos)
    refiner = ensemble.refiner
    if refiner is not None:
        side = refiner.config.patch
        patches = rng.integers(256, size=(_PATCHES, side, side, CHANNELS), dtype=np.uint8)
        seconds += _seconds_per_call(lambda: refiner.predict(patches)) / _PATCHES * _PATCHES_PER_PHOTO
    return 1 / seconds


def _seconds_per_call(predict: Callable[[], object]) -> float:
    """Return the mean seconds of a call, after a first one that compiles the network."""
    predict()
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < _SECONDS:
        predict()
        calls += 1
    return elapsed / calls
