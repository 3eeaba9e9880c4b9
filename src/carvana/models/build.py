"""Networks by recipe: build one, load a saved one, and the input sizes that it accepts."""

from pathlib import Path

from carvana.backend import first_gpu, isolated_seed, keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.machine import memory_bytes
from carvana.models.encoders import count_decoder_weights, encoder_model, encoder_size_spec
from carvana.models.unet import count_filter_weights, unet, unet_size_spec
from carvana.recipe import Encoder, Recipe

_WEIGHT_BYTES = 4
_PIXEL_BYTES = 7
"""Bytes of a batch per pixel: 3 of the photo and 4 of its mask."""


def build(recipe: Recipe) -> keras.Model:
    """Build the recipe's network; the recipe's seed determines all weights that are not loaded.

    Returns:
        A model from photos (n, height, width, 3), 0..255, of a size that is valid by `size_spec`, to
        probabilities (n, height, width, 1), 0..1.

    Raises:
        UserError: the encoder does not exist, its weights cannot be loaded, or the network is sure not to fit the
            machine's memory.
        ValueError: the recipe's precision is `auto`, which `carvana.training.precision` resolves.
    """
    check_precision(recipe)
    check_memory(recipe)
    with isolated_seed(recipe.seed):
        if isinstance(recipe.model, Encoder):
            return encoder_model(recipe.model, recipe)
        return unet(recipe)


def check_precision(recipe: Recipe) -> None:
    """Raise ValueError if the recipe's precision is `auto`, which `carvana.training.precision` resolves."""
    if recipe.precision == "auto":
        raise ValueError("a network cannot be built before its precision is resolved")


def check_memory(recipe: Recipe) -> None:
    """Raise UserError if a recipe's training is sure not to fit the machine's memory.

    What is counted is the least that training needs: the filters' weights, and for each stage a batch of photos and
    masks and, on a processor, the network's first two feature maps.
    """
    available, on_gpu = memory_bytes(), first_gpu() is not None
    if isinstance(recipe.model, Encoder):
        weights = count_decoder_weights(recipe.model, recipe.base_filters)
    else:
        weights = count_filter_weights(recipe)
    # On a processor, gradients and Adam's two averages are in the same memory; a GPU may have more than the machine.
    _check_memory(
        f"recipe {recipe.name}: a network of over {weights:,} weights"
        f" (base_filters {recipe.base_filters}, depth {recipe.depth})",
        weights * (_WEIGHT_BYTES if on_gpu else 4 * _WEIGHT_BYTES),
        available,
    )
    for stage in recipe.stages:
        pixels = stage.batch_size * stage.size[0] * stage.size[1]
        needed = pixels * _PIXEL_BYTES
        if not on_gpu and recipe.model == "unet":
            value_bytes = 4 if recipe.precision == "float32" else 2
            map_values = pixels // recipe.space_to_depth**2 * recipe.base_filters
            needed += 2 * map_values * value_bytes // stage.accumulation_steps
        size = f"{stage.size[1]}x{stage.size[0]}"
        what = f"recipe {recipe.name}: a stage of {size} with a batch_size of {stage.batch_size}"
        _check_memory(what, needed, available)


def _check_memory(what: str, needed: int, available: int) -> None:
    if needed > available:
        raise UserError(
            f"{what} needs over {needed / 1e9:,.0f} GB of memory, and this machine has {available / 1e9:,.1f} GB;"
            " change the recipe"
        )


def size_spec(recipe: Recipe) -> SizeSpec:
    """Return the valid input sizes of the recipe's network."""
    if isinstance(recipe.model, Encoder):
        return encoder_size_spec(recipe.model)
    return unet_size_spec(recipe)


def save(model: keras.Model, path: Path) -> None:
    """Save a network for prediction; the file is complete or absent."""
    with atomic_path(path) as part:
        keras.saving.save_model(model, part, include_optimizer=False)


def load(path: Path) -> keras.Model:
    """Load a saved network for prediction.

    Raises:
        UserError: the file is missing or is not a complete Keras model.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such model; train it first")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a whole Keras model ({str(error).splitlines()[0]})") from None
