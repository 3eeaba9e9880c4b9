"""From a recipe to a network, and from a file back to it."""

from pathlib import Path

from carvana.backend import keras
from carvana.errors import InputError
from carvana.models.unet import unet
from carvana.recipe import Recipe


def build(recipe: Recipe) -> keras.Model:
    """Build the recipe's network with fresh weights, which its seed decides."""
    keras.utils.set_random_seed(recipe.seed)
    return unet(
        width=recipe.width,
        depth=recipe.depth,
        batch_norm=recipe.batch_norm,
        dropout=recipe.dropout,
        precision=recipe.precision,
    )


def multiple(recipe: Recipe) -> int:
    """What the sides of a photo must be divisible by for the recipe's network."""
    return 2**recipe.depth


def load(path: Path) -> keras.Model:
    """Load a saved network, to predict with.

    Raises:
        InputError: the file is missing or no Keras model.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model; train it first")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a whole Keras model ({str(error).splitlines()[0]})") from None
