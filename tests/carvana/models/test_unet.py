"""The post's network and its variants."""

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
        model = build(read_recipe("batch_norm", ["base_filters=4", "depth=3", f"precision={precision}"]))
        maps = model.predict_on_batch(photos)
        assert (maps.shape, maps.dtype) == ((2, 32, 48, 1), np.float32)
        assert maps.min() >= 0
        assert maps.max() <= 1


def test_a_depth_divides_by_its_power_of_two() -> None:
    assert unet_size_spec(read_recipe("baseline")) == SizeSpec(16)


def test_the_seed_decides_the_first_weights() -> None:
    weights = [
        build(read_recipe("fast", ["base_filters=2", f"seed={seed}"])).get_weights()[0] for seed in (1, 1, 2)
    ]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_the_cropped_one_is_the_papers() -> None:
    """572 to 388, by the sizes that figure 1 of https://arxiv.org/abs/1505.04597 gives each level."""
    model = build(read_recipe("cropped", ["base_filters=2"]))
    assert model.compute_output_shape((1, 572, 572, 3)) == (1, 388, 388, 1)
    sizes = {layer.name: layer for layer in model.layers}
    shown = keras.Model(
        model.input,
        [sizes[f"encoder{level}_conv2"].output for level in range(4)] + [sizes["bottom_conv2"].output],
    )
    assert [shape[1] for shape in shown.compute_output_shape((1, 572, 572, 3))] == [568, 280, 136, 64, 28]
    crops = [sizes[f"decoder{level}_crop"].cropping for level in (3, 2, 1, 0)]
    assert [crop[0][0] for crop in crops] == [4, 16, 40, 88]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("extras", [[], ["residual=true", "input_skip=true"]])
def test_a_cropped_networks_frame_is_what_it_answers(depth: int, extras: list[str]) -> None:
    recipe = read_recipe("cropped", ["base_filters=1", f"depth={depth}", *extras])
    size_spec, model = unet_size_spec(recipe), build(recipe)
    for size in ((1, 40), (64, 97)):
        expected = size_spec.map_size(size)
        assert model.compute_output_shape((1, *size_spec.input_size(size), 3)) == (1, *expected, 1)


def test_the_dilated_bottleneck_cascades_and_sums() -> None:
    model = build(read_recipe("dilated", ["base_filters=2", "depth=2"]))
    total = model.get_layer("bottom_sum")
    before = "dropout"
    for rate, seen in zip((1, 2, 4, 8, 16, 32), total.input, strict=True):
        convolution = model.get_layer(f"bottom_rate{rate}")
        assert (convolution.dilation_rate, convolution.filters) == ((rate, rate), 8)
        assert convolution.input is model.get_layer(before).output
        before = f"bottom_rate{rate}_relu"
        assert seen is model.get_layer(before).output


def test_upsampling_by_repetition() -> None:
    model = build(read_recipe("upsampling", ["base_filters=2", "depth=2"]))
    assert not any(isinstance(layer, keras.layers.Conv2DTranspose) for layer in model.layers)
    up = model.get_layer("decoder0_up")
    assert (up.kernel_size, up.filters, up.activation.__name__) == ((2, 2), 2, "linear")
    assert up.input is model.get_layer("decoder0_up_repeat").output


def test_a_residual_block_adds_its_input() -> None:
    model = build(read_recipe("residual", ["base_filters=2", "depth=2"]))
    for name in ("encoder0", "encoder1", "bottom", "decoder1", "decoder0"):
        convolved, shortcut = model.get_layer(f"{name}_sum").input
        assert convolved is model.get_layer(f"{name}_conv2").output
        assert shortcut is model.get_layer(f"{name}_shortcut").output
        assert model.get_layer(f"{name}_shortcut").input is model.get_layer(f"{name}_conv1").input
        assert model.get_layer(f"{name}_conv2_relu").input is model.get_layer(f"{name}_sum").output


def test_the_last_stage_sees_the_photo() -> None:
    model = build(read_recipe("input_skip", ["base_filters=2", "depth=2"]))
    assert model.get_layer("decoder0_skip").input[-1] is model.get_layer("unit_range").output
    assert len(model.get_layer("decoder1_skip").input) == 2
