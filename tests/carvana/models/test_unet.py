"""The baseline's U-Net and its variants."""

import numpy as np
import pytest

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.models.build import build
from carvana.models.unet import unet_size_spec
from carvana.recipe import read_recipe


@pytest.fixture(scope="module")
def baseline() -> keras.Model:
    return build(read_recipe("baseline"))


def test_baseline_has_as_many_parameters_as_the_post(baseline: keras.Model) -> None:
    assert baseline.count_params() == 31_031_745


def test_baseline_equals_the_posts_network_layer_by_layer(baseline: keras.Model) -> None:
    """Two 3x3 ReLU convolutions per level, 2x2 pooling, dropout 0.3 before the bottleneck of 1024 filters; then
    2x2 transposed convolutions of stride 2 without activation, the skip first in each concatenation."""
    convolutions = [layer for layer in baseline.layers if type(layer) is keras.layers.Conv2D]
    filters = [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64, 1]
    assert [layer.filters for layer in convolutions] == filters
    assert {layer.kernel_size for layer in convolutions[:-1]} == {(3, 3)}
    assert {layer.padding for layer in convolutions[:-1]} == {"same"}
    assert sum(isinstance(layer, keras.layers.ReLU) for layer in baseline.layers) == 18
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in baseline.layers)
    pools = [layer for layer in baseline.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [layer.pool_size for layer in pools] == [(2, 2)] * 4
    upsampling = [layer for layer in baseline.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert [(layer.filters, layer.kernel_size, layer.strides) for layer in upsampling] == [
        (n, (2, 2), (2, 2)) for n in (512, 256, 128, 64)
    ]
    assert {layer.activation.__name__ for layer in upsampling} == {"linear"}
    (dropout,) = [layer for layer in baseline.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout.rate == 0.3
    assert baseline.get_layer("bottleneck_conv1").input is dropout.output
    concatenation = baseline.get_layer("decoder3_concat")
    assert concatenation.input[0] is baseline.get_layer("encoder3_conv2_relu").output
    assert concatenation.input[1] is baseline.get_layer("decoder3_upsample").output
    assert (convolutions[-1].kernel_size, convolutions[-1].activation.__name__) == ((1, 1), "sigmoid")


def test_height_comes_before_width(baseline: keras.Model) -> None:
    assert baseline.compute_output_shape((1, 288, 432, 3)) == (1, 288, 432, 1)


def test_network_maps_uint8_photos_to_float32_probabilities() -> None:
    photos = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)
    for precision in ("float32", "mixed_bfloat16"):
        model = build(read_recipe("batch_norm", ["base_filters=4", "depth=3", f"precision={precision}"]))
        maps = model.predict_on_batch(photos)
        assert (maps.shape, maps.dtype) == ((2, 32, 48, 1), np.float32)
        assert maps.min() >= 0
        assert maps.max() <= 1


def test_input_size_is_a_multiple_of_two_to_the_depth() -> None:
    assert unet_size_spec(read_recipe("baseline")) == SizeSpec(16)


def test_seed_determines_the_initial_weights() -> None:
    weights = [
        build(read_recipe("fast", ["base_filters=2", "precision=float32", f"seed={seed}"])).get_weights()[0]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_valid_network_has_the_sizes_of_the_paper() -> None:
    """572 to 388 pixels, by the sizes of each level in figure 1 of https://arxiv.org/abs/1505.04597."""
    model = build(read_recipe("cropped", ["base_filters=2"]))
    assert model.compute_output_shape((1, 572, 572, 3)) == (1, 388, 388, 1)
    by_name = {layer.name: layer for layer in model.layers}
    levels = keras.Model(
        model.input,
        [by_name[f"encoder{level}_conv2"].output for level in range(4)]
        + [by_name["bottleneck_conv2"].output],
    )
    assert [shape[1] for shape in levels.compute_output_shape((1, 572, 572, 3))] == [568, 280, 136, 64, 28]
    crops = [by_name[f"skip{level}_crop"].cropping for level in (3, 2, 1, 0)]
    assert [crop[0][0] for crop in crops] == [4, 16, 40, 88]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("extras", [[], ["residual=true", "input_skip=true"]])
def test_size_spec_of_a_valid_network_gives_its_output_size(depth: int, extras: list[str]) -> None:
    recipe = read_recipe("cropped", ["base_filters=1", f"depth={depth}", *extras])
    size_spec, model = unet_size_spec(recipe), build(recipe)
    for size in ((1, 40), (64, 97)):
        expected = size_spec.map_size(size)
        assert model.compute_output_shape((1, *size_spec.input_size(size), 3)) == (1, *expected, 1)


def test_dilated_bottleneck_is_a_cascade_with_a_sum() -> None:
    model = build(read_recipe("dilated", ["base_filters=2", "depth=2"]))
    total = model.get_layer("bottleneck_sum")
    previous = "dropout"
    for rate, output in zip((1, 2, 4, 8, 16, 32), total.input, strict=True):
        convolution = model.get_layer(f"bottleneck_rate{rate}")
        assert (convolution.dilation_rate, convolution.filters) == ((rate, rate), 8)
        assert convolution.input is model.get_layer(previous).output
        previous = f"bottleneck_rate{rate}_relu"
        assert output is model.get_layer(previous).output


def test_nearest_upsampling_is_followed_by_a_convolution() -> None:
    model = build(read_recipe("upsampling", ["base_filters=2", "depth=2"]))
    assert not any(isinstance(layer, keras.layers.Conv2DTranspose) for layer in model.layers)
    convolution = model.get_layer("decoder0_upsample")
    assert (convolution.kernel_size, convolution.filters) == ((2, 2), 2)
    assert convolution.activation.__name__ == "linear"
    assert convolution.input is model.get_layer("decoder0_upsample_nearest").output


def test_residual_block_adds_its_input() -> None:
    model = build(read_recipe("residual", ["base_filters=2", "depth=2"]))
    for name in ("encoder0", "encoder1", "bottleneck", "decoder1", "decoder0"):
        convolved, shortcut = model.get_layer(f"{name}_sum").input
        assert convolved is model.get_layer(f"{name}_conv2").output
        assert shortcut is model.get_layer(f"{name}_shortcut").output
        assert model.get_layer(f"{name}_shortcut").input is model.get_layer(f"{name}_conv1").input
        assert model.get_layer(f"{name}_conv2_relu").input is model.get_layer(f"{name}_sum").output


def test_input_skip_reaches_the_last_decoder_level_only() -> None:
    model = build(read_recipe("input_skip", ["base_filters=2", "depth=2"]))
    assert model.get_layer("decoder0_concat").input[-1] is model.get_layer("rescaling").output
    assert len(model.get_layer("decoder1_concat").input) == 2
