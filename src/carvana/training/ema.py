"""Exponential moving average (EMA) of a model's weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from carvana.backend import jit, keras


class ExponentialMovingAverage:
    """EMA of all floating-point variables of a model, the statistics of batch normalisation included.

    See https://arxiv.org/abs/1806.05594. The decay of step t = 1, 2, ... is min(decay, t / (9 + t)), as in
    tf.train.ExponentialMovingAverage, so that the initial weights are soon forgotten.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        """Start the average at the model's current weights.

        Args:
            model: the model in training.
            decay: decay per step, 0..1; the average covers about the last 1 / (1 - decay) steps.
        """
        self._weights = [weight for weight in model.variables if weight.dtype.startswith("float")]
        self._decay = decay
        self._steps = 0
        self._averages: list[keras.KerasTensor] = [keras.ops.copy(weight) for weight in self._weights]
        self._move = jit(_move)

    def update(self) -> None:
        """Update the average with the model's weights after a step."""
        self._steps += 1
        rate = 1 - min(self._decay, self._steps / (9 + self._steps))
        weights = [keras.ops.convert_to_tensor(weight) for weight in self._weights]
        # A tensor, as a Python number would be compiled anew for each value.
        self._averages = self._move(self._averages, weights, keras.ops.convert_to_tensor(rate, "float32"))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the model's weights by their averages within the block."""
        weights = [keras.ops.copy(weight) for weight in self._weights]
        self._assign(self._averages)
        try:
            yield
        finally:
            self._assign(weights)

    def state(self) -> list[np.ndarray]:
        """Return the number of steps and the averages as arrays, for `load`."""
        return [np.array(self._steps), *(keras.ops.convert_to_numpy(average) for average in self._averages)]

    def load(self, state: Sequence[np.ndarray]) -> None:
        """Restore what `state` returned for the same model."""
        self._steps = int(state[0])
        self._averages = [keras.ops.convert_to_tensor(average) for average in state[1:]]

    def _assign(self, values: Sequence[keras.KerasTensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)


def _move(
    averages: list[keras.KerasTensor], weights: list[keras.KerasTensor], rate: keras.KerasTensor
) -> list[keras.KerasTensor]:
    """Move each average towards its weight by a share of the distance."""
    return [average + rate * (weight - average) for average, weight in zip(averages, weights, strict=True)]
