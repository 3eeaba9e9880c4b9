"""Losses of a probability map against a mask, a value a photo.

Probability maps and masks are float32 (n, height, width, 1), 0..1; a mask may be soft at its edge. Every photo
has the same weight, whatever the size of its car.
"""

import math
from collections.abc import Callable

from carvana.backend import keras
from carvana.recipe import Recipe

ops = keras.ops

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]
"""From (mask, map), as Keras has it, to (n,)."""

_WINDOW = 41 / 1024
"""Side of the square that an edge is looked for in, as a share of the photo's height: the winners' 41 at 1024."""


def make_loss(recipe: Recipe, height: int) -> Loss:
    """The loss that a recipe names, on maps of a height in pixels."""
    combined = {"bce": _bce, "bce_dice": _bce_dice, "bce_log_dice": _bce_log_dice}[recipe.loss]
    window = 2 * math.ceil(_WINDOW * height / 2) - 1  # odd, so that it lies around a pixel

    def loss(mask: keras.KerasTensor, car: keras.KerasTensor) -> keras.KerasTensor:
        weights = border_weights(mask, window, recipe.border_weight) if recipe.border_weight > 1 else 1.0
        return combined(mask, car, weights)

    return loss


def border_weights(mask: keras.KerasTensor, window: int, weight: float) -> keras.KerasTensor:
    """How much each pixel counts: `weight` where both car and studio lie in the window around it, else 1.

    Scaled to a mean of 1 a photo. As the 1st place has it: 0.01 < mean of the window < 0.99.
    """
    mean = mask
    for side in (
        (window, 1),
        (1, window),
    ):  # one after the other: two lines of pixels are fewer than a square
        mean = ops.average_pool(mean, side, strides=1, padding="same")
    border = ops.cast(ops.logical_and(mean > 0.01, mean < 0.99), mask.dtype)
    weights = 1 + (weight - 1) * border
    return weights / ops.mean(weights, axis=(1, 2, 3), keepdims=True)


def _bce(
    mask: keras.KerasTensor, car: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """Binary cross-entropy, the mean over pixels."""
    return ops.mean(weights * ops.binary_crossentropy(mask, car), axis=(1, 2, 3))


def _soft_dice(
    mask: keras.KerasTensor, car: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """Dice of probabilities, 2 sum(m p) / (sum(m) + sum(p)), as V-Net has it: https://arxiv.org/abs/1606.04797."""
    shared = ops.sum(weights * mask * car, axis=(1, 2, 3))
    both = ops.sum(weights * (mask + car), axis=(1, 2, 3))
    return (2 * shared + 1) / (both + 1)  # 1 where both are empty, as the competition counts it


def _bce_dice(
    mask: keras.KerasTensor, car: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """BCE + 1 - Dice."""
    return _bce(mask, car, weights) + 1 - _soft_dice(mask, car, weights)


def _bce_log_dice(
    mask: keras.KerasTensor, car: keras.KerasTensor, weights: keras.KerasTensor | float
) -> keras.KerasTensor:
    """BCE - log(Dice), the 5th place's choice."""
    return _bce(mask, car, weights) - ops.log(_soft_dice(mask, car, weights))
