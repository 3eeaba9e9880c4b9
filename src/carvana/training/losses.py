"""Losses of a probability map against a mask, a value a photo.

Maps and masks are float32 (n, height, width, 1), 0..1; a mask may be soft at its edge. Each loss takes
(mask, map) as Keras has it, and returns (n,): photos count alike, however large their cars.
"""

from collections.abc import Callable

from carvana.backend import keras

ops = keras.ops

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def bce(mask: keras.KerasTensor, car: keras.KerasTensor) -> keras.KerasTensor:
    """Binary cross-entropy, the mean over pixels."""
    return ops.mean(ops.binary_crossentropy(mask, car), axis=(1, 2, 3))


def soft_dice(mask: keras.KerasTensor, car: keras.KerasTensor) -> keras.KerasTensor:
    """Dice of probabilities, 2 sum(m p) / (sum(m) + sum(p)), as V-Net has it: https://arxiv.org/abs/1606.04797."""
    shared = ops.sum(mask * car, axis=(1, 2, 3))
    both = ops.sum(mask, axis=(1, 2, 3)) + ops.sum(car, axis=(1, 2, 3))
    return (2 * shared + 1) / (both + 1)  # 1 where both are empty, as the competition counts it


def bce_dice(mask: keras.KerasTensor, car: keras.KerasTensor) -> keras.KerasTensor:
    """BCE + 1 - Dice."""
    return bce(mask, car) + 1 - soft_dice(mask, car)


def bce_log_dice(mask: keras.KerasTensor, car: keras.KerasTensor) -> keras.KerasTensor:
    """BCE - log(Dice), the 5th place's choice."""
    return bce(mask, car) - ops.log(soft_dice(mask, car))


def loss_of(name: str) -> Loss:
    """The loss that a recipe names."""
    return {"bce": bce, "bce_dice": bce_dice, "bce_log_dice": bce_log_dice}[name]
