"""Networks of an encoder and a decoder of segmentation-models, https://github.com/qubvel/segmentation_models."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.models.keras2_compat import keras2_modules, patched_library
from carvana.models.layers import CheckInputSize
from carvana.recipe import Encoder, Recipe

LIBRARY_FILTERS = 16
"""Filters of the last decoder stage in the library's default networks."""


def encoder_model(encoder: Encoder, recipe: Recipe) -> keras.Model:
    """Build a network of an encoder and a decoder, with the weights that the recipe names.

    Args:
        encoder: the recipe's `model`.
        recipe: gives base_filters, the precision of all but the last layers, which are float32, and whether
            the encoder is frozen at first.

    Returns:
        A model from photos (n, height, width, 3), 0..255, to probabilities (n, height, width, 1), 0..1, that
        contains the encoder's preprocessing. Valid input sizes are those of `encoder_size_spec`; for a PSPNet the
        recipe's size alone.

    Raises:
        UserError: the library has no such encoder, or its weights cannot be loaded.
    """
    size_spec = encoder_size_spec(encoder)
    size = size_spec.input_size(recipe.size) if encoder.decoder == "pspnet" else (None, None)
    photo = keras.Input((*size, 3), name="photo")
    x = CheckInputSize(**asdict(size_spec), name="input_size")(photo)
    with patched_library() as library:
        _check_name(encoder.encoder, library)
        x = _preprocess(x, encoder.encoder, library)
        with _dtype_policy(recipe.precision):
            network = _network(encoder, recipe, size, library)
        car = network(x)
    return keras.Model(photo, car, name=f"{encoder.encoder}_{encoder.decoder}")


def count_decoder_weights(encoder: Encoder, base_filters: int) -> int:
    """Count the weights of the largest filters that a decoder is sure to have, without building it."""
    if encoder.decoder in ("unet", "fpn"):  # a 3x3 convolution of its widest blocks
        return 9 * (base_filters << 4) ** 2
    return 0


def encoder_size_spec(encoder: Encoder) -> SizeSpec:
    """Return the valid input sizes: encoders halve the photo five times; a PSPNet pools an eighth of it by 6."""
    return SizeSpec(48 if encoder.decoder == "pspnet" else 32)


def _check_name(name: str, library: ModuleType) -> None:
    names = library.get_available_backbone_names()
    supported = [one for one in names if not one.startswith("densenet")]
    if name.startswith("densenet"):
        raise UserError(
            f"model.encoder {name}: Keras 3 refuses the names of its layers, which contain a slash;"
            " choose another encoder"
        )
    if name not in supported:
        raise UserError(
            f"model.encoder {name}: segmentation-models has no such encoder; it has {', '.join(supported)}"
        )


def _preprocess(photo: keras.KerasTensor, name: str, library: ModuleType) -> keras.KerasTensor:
    """Add a layer that computes the library's preprocessing of RGB, 0..255.

    Each of the library's functions scales and shifts the channels, some after a conversion from RGB to BGR. The
    values of black and of the three primary colours determine scale, shift and order.
    """
    function, modules = library.Backbones.get_preprocessing(name), keras2_modules()
    offset = function(np.zeros((1, 1, 1, 3)), **modules)[0, 0, 0]
    scales = function(np.eye(3)[None, None], **modules)[0, 0] - offset  # from (row) and to (column) a channel
    if not scales[0, 0]:
        photo, scales = keras.ops.flip(photo, axis=-1), scales[::-1]
    return keras.layers.Rescaling(np.diag(scales).tolist(), offset.tolist(), name="preprocessing")(photo)


@contextmanager
def _dtype_policy(policy: str) -> Iterator[None]:
    """Set Keras's default dtype policy for the duration of the block."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def _network(
    encoder: Encoder, recipe: Recipe, size: tuple[int | None, int | None], library: ModuleType
) -> keras.Model:
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
            **keras2_modules(),
        )
    except (
        OSError,
        ValueError,
        KeyError,
    ) as error:  # weights of another encoder, or a size that is too small
        reason = str(error).splitlines()[0]
        raise UserError(f"model {encoder.encoder} with weights {encoder.weights}: {reason}") from None


def _decoder(
    name: str, base_filters: int, library: ModuleType
) -> tuple[Callable[..., keras.Model], dict[str, int | tuple[int | None, ...]]]:
    """Return the library's builder of a decoder, and its filters: the default ones, scaled by base_filters."""
    if name == "unet":
        filters = tuple(base_filters << level for level in (4, 3, 2, 1, 0))
        return library.models.unet.Unet, {"decoder_filters": filters}
    if name == "linknet":  # its other stages have as many filters as the encoder's
        return library.models.linknet.Linknet, {"decoder_filters": (None, None, None, None, base_filters)}
    if name == "fpn":
        return library.models.fpn.FPN, {"pyramid_block_filters": 256 * base_filters // LIBRARY_FILTERS}
    return library.models.pspnet.PSPNet, {"psp_conv_filters": 512 * base_filters // LIBRARY_FILTERS}


def _weights(encoder: Encoder) -> str | None:
    """Return the library's argument for the recipe's weights, after a check of a file's sha256."""
    if encoder.weights in ("none", "imagenet"):
        return None if encoder.weights == "none" else "imagenet"
    path = Path(encoder.weights)
    if path.suffix != ".h5":
        raise UserError(f'model.weights {path}: expected "imagenet", "none", or a .h5 file')
    try:
        digest = sha256_of_file(path)
    except OSError as error:
        raise UserError(f"model.weights {path}: cannot be read ({error.strerror})") from None
    if digest != encoder.sha256:
        raise UserError(
            f"model.weights {path}: its sha256 is {digest}, the recipe has {encoder.sha256 or 'none'}"
        )
    return str(path)
