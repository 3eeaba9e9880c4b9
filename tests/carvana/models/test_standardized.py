"""Convolutions that normalise their weights."""

import numpy as np
import pytest

from carvana.backend import keras
from carvana.models.standardized import WeightStandardizedConv2D


@pytest.mark.parametrize(("padding", "rate"), [("same", 1), ("valid", 1), ("same", 2), ("valid", 2)])
def test_it_is_a_convolution_with_standardised_filters(padding: str, rate: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 9, 11, 8)).astype(np.float32)
    ours = WeightStandardizedConv2D(4, padding, rate)
    maps = np.asarray(ours(x))
    assert maps.shape == ours.compute_output_shape(x.shape)
    kernel = np.asarray(ours.kernel)
    kernel = (kernel - kernel.mean((0, 1, 2))) / kernel.std((0, 1, 2)) / np.sqrt(9 * 8)
    plain = keras.layers.Conv2D(4, 3, padding=padding, dilation_rate=rate)
    plain.build(x.shape)
    plain.set_weights([kernel * np.sqrt(2 / (1 - 1 / np.pi)), np.zeros(4)])
    assert np.allclose(maps, np.asarray(plain(x)), atol=1e-3)


def test_signals_keep_their_scale_through_many_layers_however_large_the_weights() -> None:
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)
    for seed in range(8):
        keras.utils.set_random_seed(seed)
        layer = WeightStandardizedConv2D(32)
        layer.build(x.shape)
        layer.kernel.assign(layer.kernel * 10)
        x = np.maximum(np.asarray(layer(x)), 0)
    assert 0.3 < x.std() < 3
