"""The layers and versions that make segmentation-models run on Keras 3."""

from importlib.metadata import version

import numpy as np

from carvana.backend import keras
from carvana.models.keras2_compat import VERSIONS, replace_lambda


def test_installed_versions_are_those_the_module_is_written_for() -> None:
    assert {name: version(name) for name in VERSIONS} == VERSIONS
    assert keras.__version__.startswith("3.")


def test_layers_that_replace_lambda_compute_the_same_and_survive_their_config() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 8)).astype(np.float32)
    channels = replace_lambda(None, {"start": 2, "stop": 4, "axis": 3})
    scaled_sum = replace_lambda(None, {"scale": 0.5}, name="sum")
    expanded = replace_lambda(None, {"channels_axis": 3})
    assert np.array_equal(np.asarray(channels(x)), x[..., 2:4])
    assert np.allclose(np.asarray(scaled_sum([x, x])), 1.5 * x)
    assert np.array_equal(np.asarray(expanded(x[:, 0, 0])), x[:, :1, :1])
    for layer in (channels, scaled_sum):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
