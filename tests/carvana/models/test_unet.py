"""The post's network."""

import numpy as np
import pytest

from carvana.backend import keras
from carvana.models.build import build, load, multiple
from carvana.models.unet import unet
from carvana.recipe import read_recipe


@pytest.fixture(scope="module")
def baseline() -> keras.Model:
    return build(read_recipe("baseline"))


def test_the_baseline_has_the_posts_parameters(baseline: keras.Model) -> None:
    assert baseline.count_params() == 31_031_745


def test_the_baseline_is_the_posts_layer_by_layer(baseline: keras.Model) -> None:
    """Two 3x3 ReLU convolutions a level, 2x2 pooling, dropout 0.3 in front of the 1024 level; then 2x2
    transposed convolutions of stride 2 without activation, the skip first in each concatenation."""
    convolutions = [layer for layer in baseline.layers if type(layer) is keras.layers.Conv2D]
    widths = [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64, 1]
    assert [layer.filters for layer in convolutions] == widths
    assert {layer.kernel_size for layer in convolutions[:-1]} == {(3, 3)}
    assert {layer.padding for layer in convolutions[:-1]} == {"same"}
    assert sum(isinstance(layer, keras.layers.ReLU) for layer in baseline.layers) == 18
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in baseline.layers)
    pools = [layer for layer in baseline.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [layer.pool_size for layer in pools] == [(2, 2)] * 4
    ups = [layer for layer in baseline.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert [(layer.filters, layer.kernel_size, layer.strides) for layer in ups] == [
        (filters, (2, 2), (2, 2)) for filters in (512, 256, 128, 64)
    ]
    assert {layer.activation.__name__ for layer in ups} == {"linear"}
    (dropout,) = [layer for layer in baseline.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout.rate == 0.3
    assert baseline.get_layer("bottom_conv1").input is dropout.output
    skip = baseline.get_layer("decoder3_skip")
    assert skip.input[0] is baseline.get_layer("encoder3_conv2_relu").output
    assert skip.input[1] is baseline.get_layer("decoder3_up").output
    assert (convolutions[-1].kernel_size, convolutions[-1].activation.__name__) == ((1, 1), "sigmoid")


def test_a_landscape_photo_gives_a_landscape_map(baseline: keras.Model) -> None:
    assert baseline.compute_output_shape((1, 288, 432, 3)) == (1, 288, 432, 1)


def test_probabilities_of_photos_as_they_are() -> None:
    photos = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)
    for precision in ("float32", "mixed_bfloat16"):
        model = unet(width=4, depth=3, batch_norm=True, precision=precision)
        maps = model.predict_on_batch(photos)
        assert (maps.shape, maps.dtype) == ((2, 32, 48, 1), np.float32)
        assert maps.min() >= 0
        assert maps.max() <= 1


def test_a_saved_network_gives_the_same_numbers(tmp_path) -> None:
    recipe = read_recipe("fast", ["width=4"])
    model = build(recipe)
    photos = np.random.default_rng(0).integers(256, size=(1, 32, 48, 3), dtype=np.uint8)
    model.save(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict_on_batch(photos), model.predict_on_batch(photos))


def test_a_depth_divides_by_its_power_of_two() -> None:
    assert multiple(read_recipe("baseline")) == 16


def test_the_seed_decides_the_first_weights() -> None:
    weights = [build(read_recipe("fast", ["width=2", f"seed={seed}"])).get_weights()[0] for seed in (1, 1, 2)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
