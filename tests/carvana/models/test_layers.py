"""The layers that the networks share."""

from pathlib import Path

import numpy as np
import pytest

from carvana.backend import keras
from carvana.models.build import build, load
from carvana.models.layers import BatchNormalization, DepthToSpace, SpaceToDepth, WeightStandardizedConv2D
from carvana.recipe import read_recipe


@pytest.mark.parametrize(
    ("name", "size", "valid"),
    [("baseline", (30, 48), (32, 48)), ("baseline", (33, 47), (36, 48)), ("cropped", (64, 71), (64, 72))],
)
def test_error_of_an_invalid_input_size_gives_the_valid_one(
    name: str, size: tuple[int, int], valid: tuple[int, int], tmp_path: Path
) -> None:
    built = build(read_recipe(name, ["base_filters=1", "depth=2"]))
    built.save(tmp_path / "model.keras")
    message = rf"height {size[0]} and width {size[1]} do not fit.* height {valid[0]} and width {valid[1]}"
    for model in (built, load(tmp_path / "model.keras")):
        with pytest.raises(ValueError, match=message):
            model(np.zeros((1, *size, 3), np.float32))
        with pytest.raises(ValueError, match=message):
            model.predict_on_batch(np.zeros((1, *size, 3), np.uint8))
        assert np.isfinite(model.predict_on_batch(np.zeros((1, *valid, 3), np.uint8))).all()


@pytest.mark.parametrize(("padding", "rate"), [("same", 1), ("valid", 1), ("same", 2), ("valid", 2)])
def test_weight_standardized_convolution_equals_one_with_standardized_filters(
    padding: str, rate: int
) -> None:
    x = np.random.default_rng(0).normal(size=(2, 9, 11, 8)).astype(np.float32)
    layer = WeightStandardizedConv2D(4, padding, rate)
    output = np.asarray(layer(x))
    assert output.shape == layer.compute_output_shape(x.shape)
    kernel = np.asarray(layer.kernel)
    kernel = (kernel - kernel.mean((0, 1, 2))) / kernel.std((0, 1, 2)) / np.sqrt(9 * 8)
    reference = keras.layers.Conv2D(4, 3, padding=padding, dilation_rate=rate)
    reference.build(x.shape)
    reference.set_weights([kernel * np.sqrt(2 / (1 - 1 / np.pi)), np.zeros(4)])
    assert np.allclose(output, np.asarray(reference(x)), atol=1e-3)


def test_weight_standardization_keeps_the_scale_of_activations_for_large_weights() -> None:
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)
    for seed in range(8):
        keras.utils.set_random_seed(seed)
        layer = WeightStandardizedConv2D(32)
        layer.build(x.shape)
        layer.kernel.assign(layer.kernel * 10)
        x = np.maximum(np.asarray(layer(x)), 0)
    assert 0.3 < x.std() < 3


def batch_normalizations(channels: int = 16, **options: bool) -> list[keras.layers.Layer]:
    """The layer and Keras's own, with the same random weights."""
    both = [one(momentum=0.7, **options) for one in (BatchNormalization, keras.layers.BatchNormalization)]
    for layer in both:
        layer.build((None, None, None, channels))
        random = np.random.default_rng(1)
        layer.set_weights([random.uniform(0.5, 2, weight.shape) for weight in layer.weights])
    return both


@pytest.mark.parametrize("channels", [16, 5])  # TensorFlow's operation, and Keras's own
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_batch_normalization_equals_that_of_keras(options: dict[str, bool], channels: int) -> None:
    x = np.random.default_rng(0).normal(2, 3, size=(3, 9, 11, channels)).astype(np.float32)
    layer, reference = batch_normalizations(channels, **options)
    np.testing.assert_allclose(layer(x), reference(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(x, training=True), reference(x, training=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, reference.moving_mean, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, reference.moving_variance, rtol=1e-2)  # n - 1, not n
    np.testing.assert_allclose(layer(x), reference(x), rtol=2e-2, atol=1e-2)


def test_batch_normalization_in_bfloat16_keeps_its_averages_in_float32() -> None:
    x = np.random.default_rng(0).normal(2, 3, size=(3, 9, 11, 16)).astype(np.float32)
    layer = BatchNormalization(dtype="mixed_bfloat16")
    assert layer(x, training=True).dtype == "bfloat16"
    assert layer.moving_mean.dtype == "float32"


def test_frozen_batch_normalization_leaves_its_averages() -> None:
    x = np.random.default_rng(0).normal(2, 3, size=(3, 9, 11, 16)).astype(np.float32)
    layer, _ = batch_normalizations()
    layer.trainable, before = False, [np.array(weight) for weight in layer.weights]
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    for weight, earlier in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, earlier)


@pytest.mark.parametrize("block_size", [2, 3])
def test_depth_to_space_inverts_space_to_depth(block_size: int) -> None:
    maps = np.random.default_rng(0).uniform(size=(2, 6, 12, 5)).astype(np.float32)
    deep = SpaceToDepth(block_size)(maps)
    assert deep.shape == (2, 6 // block_size, 12 // block_size, 5 * block_size**2)
    assert np.array_equal(np.asarray(DepthToSpace(block_size)(deep)), maps)


def test_space_to_depth_makes_one_pixel_of_a_block() -> None:
    photo = np.arange(4 * 6, dtype=np.float32).reshape(1, 4, 6, 1)
    deep = np.asarray(SpaceToDepth(2)(photo))
    assert deep[0, 0, 0].tolist() == [0, 1, 6, 7]
    assert deep[0, 1, 2].tolist() == [16, 17, 22, 23]


@pytest.mark.parametrize("layer_class", [SpaceToDepth, DepthToSpace])
def test_block_layers_survive_their_config_and_unknown_sizes(layer_class: type[keras.layers.Layer]) -> None:
    layer = layer_class(2, name="blocks")
    assert layer_class.from_config(layer.get_config()).get_config() == layer.get_config()
    channels = {SpaceToDepth: 32, DepthToSpace: 2}[layer_class]
    assert layer.compute_output_shape((None, None, None, 8)) == (None, None, None, channels)
