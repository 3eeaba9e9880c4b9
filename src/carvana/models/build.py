"""From a recipe to a network, and from a file back to it."""

from pathlib import Path

from carvana.backend import isolated_seed, keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.models.encoders import encoder_model, encoder_size_spec
from carvana.models.unet import unet, unet_size_spec
from carvana.recipe import Recipe


def build(recipe: Recipe) -> keras.Model:
    """Build the recipe's network; its seed decides the weights that it does not get from elsewhere.

    Returns:
        A model from photos (n, height, width, 3), 0..255, of a size that `size_spec` the recipe fits, to
        probabilities (n, height, width, 1), 0..1.

    Raises:
        UserError: there is no such encoder, or its weights cannot be had.
    """
    with isolated_seed(recipe.seed):
        return unet(recipe) if recipe.model == "unet" else encoder_model(recipe)


def size_spec(recipe: Recipe) -> SizeSpec:
    """What sizes the recipe's network eats."""
    return unet_size_spec(recipe) if recipe.model == "unet" else encoder_size_spec(recipe.model)


def load(path: Path) -> keras.Model:
    """Load a saved network, to predict with.

    Raises:
        UserError: the file is missing or no Keras model.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such model; train it first")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a whole Keras model ({str(error).splitlines()[0]})") from None
