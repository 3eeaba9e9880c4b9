"""The exponential moving average of a network's weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from carvana.backend import jit, keras


class ExponentialMovingAverage:
    """An average over the last steps of all that a network has learnt, statistics of batch normalisation included.

    https://arxiv.org/abs/1806.05594; in its first steps it averages over fewer, so that it forgets the start.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        """Average over about 1 / (1 - `decay`) steps."""
        self._weights = [weight for weight in model.variables if weight.dtype.startswith("float")]
        self._decay = decay
        self._steps = 0
        self._averages: list = [keras.ops.copy(weight) for weight in self._weights]
        self._move = jit(_moved)

    def update(self) -> None:
        """Take in the weights as they are after a step."""
        self._steps += 1
        share = 1 - min(self._decay, self._steps / (9 + self._steps))
        weights = [keras.ops.convert_to_tensor(weight) for weight in self._weights]
        self._averages = self._move(self._averages, weights, keras.ops.convert_to_tensor(share, "float32"))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the averages while the block lasts."""
        own = [keras.ops.copy(weight) for weight in self._weights]
        self._assign(self._averages)
        try:
            yield
        finally:
            self._assign(own)

    def state(self) -> list[np.ndarray]:
        """All of it, to be given to `load`."""
        return [np.array(self._steps), *(keras.ops.convert_to_numpy(one) for one in self._averages)]

    def load(self, state: Sequence[np.ndarray]) -> None:
        """Be what another of the same network was when it gave its state."""
        self._steps = int(state[0])
        self._averages = [keras.ops.convert_to_tensor(one) for one in state[1:]]

    def _assign(self, values: Sequence) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)


def _moved(averages: list, weights: list, share: keras.KerasTensor) -> list:
    return [average + share * (weight - average) for average, weight in zip(averages, weights, strict=True)]
