"""Post-training quantisation: a run's last network in INT8, calibrated on photos that the run trained on.

It needs NNCF, which is not among the requirements.
"""

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from unittest.mock import patch

import numpy as np
from openvino import Model

from carvana import console
from carvana.console import Reporter
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.data.padding import pad
from carvana.errors import UserError
from carvana.inference.config import quantized_file
from carvana.inference.openvino_engine import load_network
from carvana.inference.openvino_files import write_network
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.locks import file_lock
from carvana.models.build import build, size_spec
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe
from carvana.runs import RunDir
from carvana.training.refiner_trainer import PatchSamples

_PHOTOS = 96
"""Photos that the first network is calibrated on."""

_PATCH_PHOTOS = 16
"""Photos whose patches the refinement network is calibrated on."""

_FLOAT_LAYERS = 3
"""Convolutions at a network's end that stay in float: those of its last block."""


def quantize_run(run: RunDir, train: Sequence[Sample], *, reporter: Reporter = console) -> None:
    """Quantise the last network of a run, and keep it in the run's folder; one that is there is left alone.

    The last network is the refinement network if there is one: it takes most of the time, and a first network loses
    more Dice.

    Args:
        run: a finished run.
        train: photos that the run trained on; photos at equal distances in this sequence are used.
        reporter: gets the progress.

    Raises:
        UserError: NNCF is not installed, or a photo cannot be read.
    """
    recipe, path = run.read_recipe(), run.networks[-1]
    with file_lock(run.folder / ".int8.lock", reporter):
        if quantized_file(path).is_file():
            return
        if find_spec("nncf") is None:
            raise UserError("INT8 needs NNCF: .venv/bin/pip install nncf==3.4.0")
        with reporter.progress(f"fold {run.fold} INT8", 1, "networks") as advance:
            if path == run.model:
                network, inputs = load_network(path, recipe, build), _photos(recipe, train)
            else:
                network = load_network(path, refiner_recipe(recipe), build_refiner)
                inputs = _patches(run, recipe, train)
            write_network(_quantize(network, inputs), quantized_file(path).parent)
            advance(1)


def _photos(recipe: Recipe, train: Sequence[Sample]) -> list[np.ndarray]:
    """Return inputs (1, height, width, 3), uint8, of the recipe's first network."""
    size = size_spec(recipe).input_size(recipe.size)
    photos = [images.read_photo(sample.path, recipe.size) for sample in _spread(train, _PHOTOS)]
    return [pad(photo, size)[None] for photo in photos]


def _patches(run: RunDir, recipe: Recipe, train: Sequence[Sample]) -> list[np.ndarray]:
    """Return inputs (n, patch, patch, 4), uint8, of the refinement network: a batch of patches of each photo."""
    assert recipe.refine is not None
    chosen = _spread(train, _PATCH_PHOTOS)
    patches = PatchSamples(chosen, recipe.refine, recipe.seed)
    coarse = recipe.model_copy(update={"refine": None})
    for _ in patches.fill(WeightedEnsemble((FoldEnsemble.load([run], coarse),))):
        pass
    inputs = [
        np.dstack([photo, levels[..., :1]]) for photo, levels in map(patches.__getitem__, range(len(patches)))
    ]
    return list(np.stack(inputs).reshape(len(chosen), -1, *inputs[0].shape))


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return at most `count` samples, at equal distances."""
    indices = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return [samples[index] for index in indices]


def _quantize(network: Model, inputs: Sequence[np.ndarray]) -> Model:
    """Quantise a network but for its last layers, calibrated on inputs of one shape."""
    with patch.dict(sys.modules, {"openvino_telemetry": None}):  # NNCF would report its use
        import nncf
    nncf.set_log_level(logging.ERROR)
    shape = network.input(0).partial_shape
    network.reshape(list(inputs[0].shape))
    convolutions = [
        layer.get_friendly_name()
        for layer in network.get_ordered_ops()
        if "Convolution" in layer.get_type_name()
    ]
    with redirect_stdout(StringIO()):  # it prints messages and progress of its own
        quantized = nncf.quantize(
            network,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=convolutions[-_FLOAT_LAYERS:]),
        )
    quantized.reshape(shape)
    return quantized
