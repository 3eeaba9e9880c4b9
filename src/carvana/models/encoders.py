"""Encoders and decoders of segmentation-models, https://github.com/qubvel/segmentation_models.

The library is written for Keras 2 (1.0.1 is of 2019). It takes Keras's modules as arguments, though, so that it
runs on Keras 3, whatever the backend, where it is handed modules that hold the little that it misses. No other
file knows of that. Nothing of the library lies in the networks that it builds: a saved one loads without it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import numpy as np

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.models.fitting import CheckInputSize
from carvana.models.unet import NORM_MOMENTUM
from carvana.recipe import Encoder, Recipe

VERSIONS = {
    "segmentation-models": "1.0.1",
    "efficientnet": "1.0.0",
    "image-classifiers": "1.0.0",
    "Keras-Applications": "1.0.8",
}
"""What this adapter is written for."""

OWN_WIDTH = 16
"""Filters of the last decoder stage that the library itself has."""

_LAST = ("final_upsampling", "sigmoid")
"""What the library names the layers after the last convolution, which alone has one filter."""

_GO_ON = 'go on with weights = "none", or with a local .h5 file and its sha256'


def encoder_model(recipe: Recipe) -> keras.Model:
    """Build a recipe's network of an encoder and a decoder, with the weights that it names.

    Its layers work in the recipe's precision, the last ones in float32.

    Returns:
        A model from photos (n, height, width, 3), 0..255, to probabilities (n, height, width, 1), 0..1. What the
        encoder's weights want done to photos lies inside. Its `encoder_size_spec` says what sizes it eats; a PSPNet
        eats the recipe's size alone.

    Raises:
        UserError: the library has no such encoder, or its weights cannot be had.
    """
    encoder, size_spec = recipe.model, encoder_size_spec(recipe.model)
    size = size_spec.input_size(recipe.size) if encoder.decoder == "pspnet" else (None, None)
    photo = keras.Input((*size, 3), name="photo")
    x = CheckInputSize(**asdict(size_spec), name="input_size")(photo)
    with _library() as library:
        _check_name(encoder.encoder, library)
        x = _preprocessed(x, encoder.encoder, library)
        with _precision(recipe.precision):
            network = _network(recipe, size, library)
        car = network(x)
    return keras.Model(photo, car, name=f"{encoder.encoder}_{encoder.decoder}")


def encoder_size_spec(encoder: Encoder) -> SizeSpec:
    """What sizes a network eats: encoders halve five times, and a PSPNet pools an eighth of the photo by 6."""
    return SizeSpec(48 if encoder.decoder == "pspnet" else 32)


@contextmanager
def _library() -> Iterator[ModuleType]:
    """Import segmentation-models, and mend it while the block lasts."""
    with (
        patch.dict(os.environ, SM_FRAMEWORK="keras"),
        # It registers functions there under names as common as `swish`; they go nowhere.
        patch.object(keras.utils, "generic_utils", SimpleNamespace(get_custom_objects=dict), create=True),
        redirect_stdout(StringIO()),  # it greets
    ):
        import efficientnet.model as efficientnet
        import segmentation_models
    # Its own are made anew for each network, so that a saved one would not find them.
    models = segmentation_models.models
    with (
        ExitStack() as stack,
        patch.object(efficientnet, "get_swish", lambda **_: keras.activations.silu),
        patch.object(efficientnet, "get_dropout", lambda **_: keras.layers.Dropout),
    ):
        for module in (models.unet, models.fpn, models.linknet, models.pspnet):
            stack.enter_context(patch.object(module, "freeze_model", _freeze))
        yield segmentation_models


def _freeze(encoder: keras.Model, **_: object) -> None:
    """Freeze all of it: the library would let batch normalisation drift."""
    for layer in encoder.layers:
        layer.trainable = False


def _modules() -> dict[str, object]:
    """Keras 3 as the library wants to be handed Keras 2."""
    backend = {**vars(keras.backend), "int_shape": lambda tensor: tuple(tensor.shape)}
    layers = {**vars(keras.layers), "Lambda": _without_lambda, "BatchNormalization": _batch_norm}
    layers |= {name: _float32_at_the_end(layers[name]) for name in ("Conv2D", "UpSampling2D", "Activation")}
    return {
        "backend": SimpleNamespace(**backend),
        "layers": SimpleNamespace(**layers),
        "models": keras.models,
        "utils": SimpleNamespace(get_file=_download),
    }


def _check_name(name: str, library: ModuleType) -> None:
    known = [one for one in library.get_available_backbone_names() if not one.startswith("densenet")]
    if name.startswith("densenet"):
        raise UserError(
            f"model.encoder {name}: Keras 3 refuses its layers' names, which hold a slash; take another"
        )
    if name not in known:
        raise UserError(
            f"model.encoder {name}: segmentation-models has no such encoder; it has {', '.join(known)}"
        )


def _preprocessed(photo: keras.KerasTensor, name: str, library: ModuleType) -> keras.KerasTensor:
    """Apply what the library's preprocessing does to RGB, 0..255, by layers.

    Each of its kinds scales and shifts the channels, some turned from RGB to BGR before: black and the three
    colours tell how.
    """
    prepare, modules = library.Backbones.get_preprocessing(name), _modules()
    offset = prepare(np.zeros((1, 1, 1, 3)), **modules)[0, 0, 0]
    scales = prepare(np.eye(3)[None, None], **modules)[0, 0] - offset  # from (row) and to (column) a channel
    if not scales[0, 0]:
        photo, scales = keras.ops.flip(photo, axis=-1), scales[::-1]
    return keras.layers.Rescaling(np.diag(scales).tolist(), offset.tolist(), name="preprocessing")(photo)


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Let layers made in the block, that name none of their own, be of a policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _network(recipe: Recipe, size: tuple[int | None, int | None], library: ModuleType) -> keras.Model:
    encoder = recipe.model
    builder, filters = _decoder(encoder.decoder, recipe.base_filters, library)
    weights = _weights(encoder)
    try:
        return builder(
            encoder.encoder,
            (*size, 3),
            classes=1,
            activation="sigmoid",
            encoder_weights=weights,
            encoder_freeze=recipe.freeze_encoder_epochs > 0,
            **filters,
            **_modules(),
        )
    except (OSError, ValueError, KeyError) as error:  # a file of other weights, or a size too small
        reason = str(error).splitlines()[0]
        raise UserError(f"model {encoder.encoder} with weights {encoder.weights}: {reason}") from None


def _decoder(
    name: str, width: int, library: ModuleType
) -> tuple[Callable[..., keras.Model], dict[str, object]]:
    """The function that builds a decoder, and its filters: the library's own times width / OWN_WIDTH."""
    if name == "unet":
        return library.models.unet.Unet, {
            "decoder_filters": tuple(width << level for level in (4, 3, 2, 1, 0))
        }
    if name == "linknet":  # its other stages are as wide as the encoder's
        return library.models.linknet.Linknet, {"decoder_filters": (None, None, None, None, width)}
    if name == "fpn":
        return library.models.fpn.FPN, {"pyramid_block_filters": 256 * width // OWN_WIDTH}
    return library.models.pspnet.PSPNet, {"psp_conv_filters": 512 * width // OWN_WIDTH}


def _weights(encoder: Encoder) -> str | None:
    """The weights as the library wants them named; a file's checksum is as the recipe has it."""
    if encoder.weights in ("none", "imagenet"):
        return None if encoder.weights == "none" else "imagenet"
    path = Path(encoder.weights)
    if path.suffix != ".h5":
        raise UserError(f'model.weights {path}: expected "imagenet", "none", or a .h5 file')
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"model.weights {path}: cannot be read ({error.strerror})") from None
    if digest != encoder.sha256:
        raise UserError(
            f"model.weights {path}: its sha256 is {digest}, the recipe has {encoder.sha256 or 'none'}"
        )
    return str(path)


def _download(name: str, url: str, **options: object) -> str:
    try:
        return keras.utils.get_file(name, url, **options)
    except Exception as error:  # what Keras raises is no narrower
        reason = str(error).splitlines()[0]
        raise UserError(f"model.weights imagenet: cannot be downloaded ({reason}); {_GO_ON}") from None


def _float32_at_the_end(layer: Callable[..., keras.layers.Layer]) -> Callable[..., keras.layers.Layer]:
    """The layer, in float32 where it is one of a network's last."""

    def named(*arguments: object, **options: object) -> keras.layers.Layer:
        is_last = options.get("name") in _LAST or options.get("filters") == 1
        return layer(*arguments, **options, **({"dtype": "float32"} if is_last else {}))

    return named


def _batch_norm(**options: object) -> keras.layers.Layer:
    """As in our own networks, whatever momentum the library asks for.

    A ResNet18 without weights reached Dice 0.76 on rendered cars after 32 steps, with the library's 0.99 only 0.38.
    """
    return keras.layers.BatchNormalization(**{**options, "momentum": NORM_MOMENTUM})


def _without_lambda(
    function: Callable, arguments: dict, name: str | None = None, output_shape: tuple | None = None
) -> keras.layers.Layer:
    """A layer that can be saved, for each of the three functions that the library wraps in a Lambda layer.

    One for one: the library counts layers to find those that its decoders continue.
    """
    if "scale" in arguments:
        return ScaledSum(arguments["scale"], name=name)
    if "start" in arguments:
        return Channels(arguments["start"], arguments["stop"])
    return keras.layers.Reshape((1, 1, -1))


@keras.saving.register_keras_serializable("carvana")
class ScaledSum(keras.layers.Layer):
    """The first of two tensors plus a share of the second: an Inception-ResNet's residual."""

    def __init__(self, scale: float, **options: object) -> None:
        """Take the share, and the options of a Keras layer."""
        super().__init__(**options)
        self.scale = scale

    def call(self, pair: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Add a pair of tensors of one shape."""
        return pair[0] + self.scale * pair[1]

    def get_config(self) -> dict:
        """What to build it again from."""
        return super().get_config() | {"scale": self.scale}


@keras.saving.register_keras_serializable("carvana")
class Channels(keras.layers.Layer):
    """Some of a tensor's channels: a group of a ResNeXt's convolution."""

    def __init__(self, start: int, stop: int, **options: object) -> None:
        """Take the channels from `start` to before `stop`, and the options of a Keras layer."""
        super().__init__(**options)
        self.start, self.stop = start, stop

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Cut them from (n, height, width, channels)."""
        return x[..., self.start : self.stop]

    def get_config(self) -> dict:
        """What to build it again from."""
        return super().get_config() | {"start": self.start, "stop": self.stop}
