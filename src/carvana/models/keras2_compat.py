"""Everything that makes segmentation-models 1.0.1 run on Keras 3: patches, stand-ins for modules, replaced layers.

The library (https://github.com/qubvel/segmentation_models, of 2019) is written for Keras 2. It takes Keras's modules
as arguments, so it runs on Keras 3, with any backend, if these arguments add what Keras 3 no longer has. The networks
that it builds contain nothing of the library: a saved one loads without it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from carvana.backend import keras
from carvana.errors import UserError
from carvana.models.layers import NORM_MOMENTUM, BatchNormalization

VERSIONS = {
    "segmentation-models": "1.0.1",
    "efficientnet": "1.0.0",
    "image-classifiers": "1.0.0",
    "Keras-Applications": "1.0.8",
}
"""Versions of the packages that this module is written for."""

_LAST_LAYERS = ("final_upsampling", "sigmoid")
"""The library's names of the layers after the last convolution, which alone has one filter."""

_ADVICE = 'use weights = "none", or a local .h5 file and its sha256'


@contextmanager
def patched_library() -> Iterator[ModuleType]:
    """Import segmentation-models, and patch it for the duration of the block."""
    with (
        patch.dict(os.environ, SM_FRAMEWORK="keras"),
        # The library registers functions there under names as common as `swish`; they are discarded.
        patch.object(keras.utils, "generic_utils", SimpleNamespace(get_custom_objects=dict), create=True),
        redirect_stdout(StringIO()),  # it prints the framework's name
    ):
        import efficientnet.model as efficientnet
        import segmentation_models
    # The library creates these two anew for each network, so that a saved network would not find them.
    models = segmentation_models.models
    with (
        ExitStack() as stack,
        patch.object(efficientnet, "get_swish", lambda **_: keras.activations.silu),
        patch.object(efficientnet, "get_dropout", lambda **_: keras.layers.Dropout),
    ):
        for module in (models.unet, models.fpn, models.linknet, models.pspnet):
            stack.enter_context(patch.object(module, "freeze_model", _freeze))
        yield segmentation_models


def keras2_modules() -> dict[str, Any]:
    """Return the modules of Keras 3 in the form in which the library expects those of Keras 2, as its arguments."""
    backend = {**vars(keras.backend), "int_shape": lambda tensor: tuple(tensor.shape)}
    layers = {**vars(keras.layers), "Lambda": replace_lambda, "BatchNormalization": _batch_norm}
    layers |= {name: _last_in_float32(layers[name]) for name in ("Conv2D", "UpSampling2D", "Activation")}
    return {
        "backend": SimpleNamespace(**backend),
        "layers": SimpleNamespace(**layers),
        "models": keras.models,
        "utils": SimpleNamespace(get_file=_download),
    }


def replace_lambda(
    function: Callable | None,
    arguments: dict[str, Any],
    name: str | None = None,
    output_shape: tuple | None = None,
) -> keras.layers.Layer:
    """Return a layer that can be saved, for each of the three functions that the library wraps in a Lambda layer.

    One layer replaces one: the library finds the layers that its decoders continue from by their index.
    """
    if "scale" in arguments:
        return ScaledSum(arguments["scale"], name=name)
    if "start" in arguments:
        return ChannelSlice(arguments["start"], arguments["stop"])
    return keras.layers.Reshape((1, 1, -1))


@keras.saving.register_keras_serializable("carvana")
class ScaledSum(keras.layers.Layer):
    """Sum of a tensor and a scaled second one: the residual of an Inception-ResNet."""

    def __init__(self, scale: float, **options: Any) -> None:
        """Initialize with the factor of the second tensor, and the options of a Keras layer."""
        super().__init__(**options)
        self.scale = scale

    def call(self, pair: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Add two tensors of one shape."""
        return pair[0] + self.scale * pair[1]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {"scale": self.scale}


@keras.saving.register_keras_serializable("carvana")
class ChannelSlice(keras.layers.Layer):
    """A range of a tensor's channels: one group of a ResNeXt's grouped convolution."""

    def __init__(self, start: int, stop: int, **options: Any) -> None:
        """Initialize with the first channel and the one after the last, and the options of a Keras layer."""
        super().__init__(**options)
        self.start, self.stop = start, stop

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Slice feature maps (n, height, width, channels)."""
        return x[..., self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {"start": self.start, "stop": self.stop}


def _freeze(encoder: keras.Model, **_: Any) -> None:
    """Freeze all layers: the library's own function lets the statistics of batch normalisation drift."""
    for layer in encoder.layers:
        layer.trainable = False


def _last_in_float32(layer_class: Callable[..., keras.layers.Layer]) -> Callable[..., keras.layers.Layer]:
    """Return a constructor of the layer that uses float32 where the layer is one of a network's last."""

    def create(*arguments: Any, **options: Any) -> keras.layers.Layer:
        is_last = options.get("name") in _LAST_LAYERS or options.get("filters") == 1
        return layer_class(*arguments, **options, **({"dtype": "float32"} if is_last else {}))

    return create


def _batch_norm(**options: Any) -> keras.layers.Layer:
    """Create a batch normalisation with the momentum of this project's own networks.

    A ResNet18 without weights reached Dice 0.76 on rendered cars after 32 steps; with the library's 0.99 only 0.38.
    """
    return BatchNormalization(**{**options, "momentum": NORM_MOMENTUM})


def _download(name: str, url: str, **options: Any) -> str:
    """Download a file of weights, and return its path."""
    try:
        return keras.utils.get_file(name, url, **options)
    except Exception as error:  # Keras raises nothing narrower
        reason = str(error).splitlines()[0]
        raise UserError(f"model.weights imagenet: cannot be downloaded ({reason}); {_ADVICE}") from None
