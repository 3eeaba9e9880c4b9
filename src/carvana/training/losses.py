"""Losses of probability maps against masks, one value per photo.

Maps and masks are float32 (n, height, width, 1), 0..1; a resized mask has values in between at its edge. All photos
weigh the same, whatever the area of the car.
"""

import math
from collections.abc import Callable

from carvana.backend import keras
from carvana.recipe import Recipe

ops = keras.ops

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]
"""Function from (mask, map), in Keras's order of arguments, to the losses (n,)."""


def make_loss(recipe: Recipe, height: int) -> Loss:
    """Make the recipe's loss for maps of a height in pixels."""
    combine = {"bce": _bce, "bce_dice": _bce_dice, "bce_log_dice": _bce_log_dice}[recipe.loss]
    window = 2 * math.ceil(recipe.border_window * height / 2) - 1  # odd, so that it is centred on a pixel

    def loss(mask: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        weights = border_weights(mask, window, recipe.border_weight) if recipe.border_weight > 1 else 1.0
        return combine(mask, probabilities, weights)

    return loss


def border_weights(mask: keras.KerasTensor, window: int, weight: float) -> keras.KerasTensor:
    """Compute the weight of each pixel in the loss.

    As in the 1st place's solution, a pixel belongs to the border if the mean of the mask over the window around it is
    between 0.01 and 0.99.

    Args:
        mask: (n, height, width, 1), 0..1.
        window: side of the window in pixels, odd.
        weight: of border pixels, relative to the others.

    Returns:
        (n, height, width, 1), with a mean of 1 over each photo.
    """
    mean = mask
    for side in ((window, 1), (1, window)):  # two one-dimensional means cost less than one over the square
        mean = ops.average_pool(mean, side, strides=1, padding="same")
    border = ops.cast(ops.logical_and(mean > 0.01, mean < 0.99), mask.dtype)
    weights = 1 + (weight - 1) * border
    return weights / ops.mean(weights, axis=(1, 2, 3), keepdims=True)


def _bce(
    mask: keras.KerasTensor, probabilities: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """Binary cross-entropy, the mean over pixels."""
    return ops.mean(weights * ops.binary_crossentropy(mask, probabilities), axis=(1, 2, 3))


def _soft_dice(
    mask: keras.KerasTensor, probabilities: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """Dice of probabilities, 2 sum(m p) / (sum(m) + sum(p)).

    It has the linear denominator of the competition's metric; V-Net (https://arxiv.org/abs/1606.04797) squares it.
    """
    intersection = ops.sum(weights * mask * probabilities, axis=(1, 2, 3))
    total = ops.sum(weights * (mask + probabilities), axis=(1, 2, 3))
    return (2 * intersection + 1) / (total + 1)  # 1 if both are empty, as in the competition's metric


def _bce_dice(
    mask: keras.KerasTensor, probabilities: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """BCE + 1 - Dice."""
    return _bce(mask, probabilities, weights) + 1 - _soft_dice(mask, probabilities, weights)


def _bce_log_dice(
    mask: keras.KerasTensor, probabilities: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """BCE - log(Dice), the 5th place's loss."""
    return _bce(mask, probabilities, weights) - ops.log(_soft_dice(mask, probabilities, weights))
