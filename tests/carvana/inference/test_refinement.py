"""Refinement networks: their mean, and patches in chunks."""

import numpy as np

from carvana.backend import keras
from carvana.inference.refinement import Refiner
from carvana.recipe import Refine

REFINE = Refine(size=(160, 240), patch=32, spacing=16, depth=1)


class _Channel(keras.layers.Layer):
    """One channel of the patches as the probability, times a factor."""

    def __init__(self, channel: int, factor: float) -> None:
        super().__init__()
        self.channel, self.factor = channel, factor

    def call(self, patches: keras.KerasTensor) -> keras.KerasTensor:
        return patches[..., self.channel, None] * self.factor / 255


def _network(channel: int, factor: float) -> keras.Model:
    patches = keras.Input((None, None, 4))
    return keras.Model(patches, _Channel(channel, factor)(patches))


def test_a_refiner_averages_its_networks_and_gives_each_alone() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 4), np.uint8)
    refiner = Refiner([_network(3, 1.0), _network(3, 0.5)], REFINE, flip=True, per_fold=True)
    levels = patches[..., 3] / 255
    for index, factor in enumerate((0.75, 1.0, 0.5)):
        assert np.allclose(refiner.predict(patches, index), levels * factor, atol=1e-6)


def test_a_patchs_probability_does_not_depend_on_their_number() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 4), np.uint8)
    refiner = Refiner([_network(0, 1.0)], REFINE, flip=False)
    assert np.array_equal(refiner.predict(patches)[290:], refiner.predict(patches[290:]))
    assert refiner.predict(patches[:0]).shape == (0, 32, 32)
