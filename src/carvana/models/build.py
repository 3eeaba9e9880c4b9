"""Networks by recipe: build one, load a saved one, and the input sizes that it accepts."""

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from carvana.backend import is_out_of_memory, isolated_names, isolated_seed, keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.models import keras_file
from carvana.models.encoders import encoder_model, encoder_size_spec
from carvana.models.unet import unet, unet_size_spec
from carvana.recipe import Encoder, Recipe


def build(recipe: Recipe) -> keras.Model:
    """Build the recipe's network; the recipe's seed determines all weights that are not loaded.

    Returns:
        A model from photos (n, height, width, 3), 0..255, of a size that is valid by `size_spec`, to
        probabilities (n, height, width, 1), 0..1.

    Raises:
        UserError: the encoder does not exist, or its weights cannot be loaded.
        ValueError: the recipe's precision is `auto`, which `carvana.training.precision` resolves.
    """
    check_precision(recipe)
    with isolated_seed(recipe.seed), isolated_names():
        if isinstance(recipe.model, Encoder):
            return encoder_model(recipe.model, recipe)
        return unet(recipe)


def check_precision(recipe: Recipe) -> None:
    """Raise ValueError if the recipe's precision is `auto`, which `carvana.training.precision` resolves."""
    if recipe.precision == "auto":
        raise ValueError("a network cannot be built before its precision is resolved")


def size_spec(recipe: Recipe) -> SizeSpec:
    """Return the valid input sizes of the recipe's network."""
    if isinstance(recipe.model, Encoder):
        return encoder_size_spec(recipe.model)
    return unet_size_spec(recipe)


def save(model: keras.Model, path: Path, *, half: bool = False) -> None:
    """Save a network for prediction, without its optimizer; the file is complete or absent.

    Equal networks give equal bytes.

    Args:
        model: the network.
        path: the file.
        half: store the weights in float16, in half the bytes. A saved network of float32 is loaded as one of float32.

    Raises:
        UserError: a weight is too large for float16.
    """
    with atomic_path(path) as part:
        keras_file.write(model, part, half=half)


def build_from(path: Path, build_network: Callable[[Recipe], keras.Model], recipe: Recipe) -> keras.Model:
    """Build a recipe's network with the weights of a saved one.

    Args:
        path: the saved network.
        build_network: builds the network.
        recipe: its recipe.

    Raises:
        UserError: the saved network has other layers, or is not a complete file.
    """
    model, weights = build_network(recipe), load(path).get_weights()
    shapes, expected = [one.shape for one in weights], [tuple(one.shape) for one in model.weights]
    if shapes != expected:
        pairs = zip_longest(shapes, expected, fillvalue="no weights")
        found, needed = next((one, other) for one, other in pairs if one != other)
        raise UserError(
            f"{path}: does not fit the recipe {recipe.name}: it has {found} where that has {needed}; choose others"
        )
    model.set_weights(weights)
    return model


def load(path: Path) -> keras.Model:
    """Load a saved network for prediction.

    Raises:
        UserError: the file is missing or is not a complete Keras model.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such model; train it first")
    try:
        return keras_file.read(path)
    except Exception as error:  # Keras, h5py and zipfile raise errors of any type on a damaged file
        if is_out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise UserError(
            f"{path}: not a whole Keras model ({reason}); copy it again, or train again with --fresh"
        ) from None
