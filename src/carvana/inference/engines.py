"""Engines that compute the networks of a recipe's folds: Keras, or OpenVINO on a processor."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from carvana.backend import keras
from carvana.inference.config import EngineConfig
from carvana.inference.ensemble import merge_models
from carvana.models import build
from carvana.recipe import Recipe

MAX_PIXELS = 16 * 512 * 768
"""Pixels of all photos that go through a network at once: a feature map of 64 filters then takes 1.6 GB."""


class Engine(Protocol):
    """Networks that are ready to predict; their maps are averaged over networks and mirror images."""

    @property
    def any_size(self) -> bool:
        """True if the networks accept photos of any size."""

    def predict(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict a batch.

        Args:
            photos: (n, height, width, channels), uint8, 0..255, of a size that the networks accept.

        Returns:
            `maps` and `sums` of the batch, as `merge_models` defines them.
        """


class EngineFactory(Protocol):
    """Constructor of an engine from the networks of folds."""

    def __call__(self, networks: Sequence[Any], *, flip: bool, per_fold: bool = False) -> Engine:
        """Return an engine; the arguments are those of `merge_models`."""


class KerasEngine:
    """Networks that Keras computes, merged into one model."""

    def __init__(self, networks: Sequence[keras.Model], *, flip: bool, per_fold: bool = False) -> None:
        """Merge networks, as `merge_models` does."""
        # A single network is used as it is, so that its compiled predict function is reused between calls.
        is_plain = len(networks) == 1 and not flip and not per_fold
        self._model = networks[0] if is_plain else merge_models(networks, flip=flip, per_fold=per_fold)

    @property
    def any_size(self) -> bool:
        """True if the networks accept photos of any size; a PSPNet is built for a single one."""
        return self._model.input_shape[1] is None

    def predict(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict a batch, as `Engine.predict` says."""
        output = self._model.predict_on_batch(photos)
        if isinstance(output, dict):
            return output["maps"], output["sums"]
        return output[..., 0][:, None], np.zeros((len(photos), 2), np.float32)


def load_networks(
    paths: Sequence[Path], recipe: Recipe, build_model: Callable[[Recipe], keras.Model], engine: EngineConfig
) -> tuple[list[Any], EngineFactory]:
    """Load saved networks for an engine.

    Args:
        paths: the files of Keras models, one per fold.
        recipe: the recipe from which `build_model` builds an untrained network of the same form.
        build_model: `build` or `build_refiner`.
        engine: the engine and its precision.

    Returns:
        The networks, and the constructor of the engine that computes them.

    Raises:
        UserError: a file is missing or is not a complete Keras model.
    """
    if engine.library == "keras":
        return [build.load(path) for path in paths], KerasEngine
    from carvana.inference import openvino_engine  # OpenVINO is not installed on every machine

    assert engine.precision is not None
    networks = []
    for path in paths:
        quantized = openvino_engine.load_quantized(path) if engine.precision == "int8" else None
        networks.append(quantized or openvino_engine.load_network(path, recipe, build_model))
    return networks, partial(openvino_engine.OpenVinoEngine, precision=engine.precision)
