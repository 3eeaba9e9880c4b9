"""The baseline's U-Net and its variants.

"The post" below is the blog post "U-NET Convolution Neural Network for Semantic Segmentation".

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
https://arxiv.org/abs/1505.04597: with `same` convolutions as in the post, or with `valid` ones and cropped skips as
in the paper.
"""

from dataclasses import asdict

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.models.layers import (
    NORM_MOMENTUM,
    BatchNormalization,
    CheckInputSize,
    DepthToSpace,
    SpaceToDepth,
    WeightStandardizedConv2D,
)
from carvana.recipe import Recipe

layers = keras.layers

DILATION_RATES = (1, 2, 4, 8, 16, 32)
"""Dilation rates of the dilated bottleneck, as in lyakaap's solution (3rd place),
https://github.com/lyakaap/Kaggle-Carvana-3rd-Place-Solution."""


def unet(recipe: Recipe, channels: int = 3) -> keras.Model:
    """Build a recipe's U-Net; the baseline's is the post's network (31,031,745 parameters).

    Args:
        recipe: gives base_filters, depth, the form of the blocks, dropout, and the precision of the inner layers; the
            last layer is float32 always.
        channels: of the input; 3 for RGB.

    Returns:
        A model from photos (n, height, width, channels), 0..255, of a size that is valid by `unet_size_spec`, to
        probabilities (n, height, width, 1), 0..1.
    """
    photo = keras.Input((None, None, channels), name="photo")
    x = CheckInputSize(**asdict(unet_size_spec(recipe)), name="input_size")(photo)
    x = layers.Rescaling(1 / 255, name="rescaling")(x)
    if recipe.space_to_depth > 1:
        x = SpaceToDepth(recipe.space_to_depth, name="space_to_depth", dtype=recipe.precision)(x)
    stem, skips = x, []
    for level in range(recipe.depth):
        x = _conv_block(x, recipe.base_filters << level, f"encoder{level}", recipe)
        skips.append(x)
        x = layers.MaxPooling2D(name=f"encoder{level}_pool", dtype=recipe.precision)(x)
    if recipe.dropout:
        x = layers.Dropout(recipe.dropout, name="dropout", dtype=recipe.precision)(x)
    x = _bottleneck(x, recipe)
    for level in reversed(range(recipe.depth)):
        x = _upsample(x, recipe.base_filters << level, f"decoder{level}_upsample", recipe)
        inputs = [_crop(skips[level], _skip_crop(recipe, level), f"skip{level}_crop", recipe), x]
        if recipe.input_skip and level == 0:
            inputs.append(_crop(stem, _input_skip_crop(recipe), "input_skip_crop", recipe))
        x = layers.Concatenate(name=f"decoder{level}_concat", dtype=recipe.precision)(inputs)
        x = _conv_block(x, recipe.base_filters << level, f"decoder{level}", recipe)
    return keras.Model(photo, _head(x, recipe.space_to_depth), name="unet")


def count_filter_weights(recipe: Recipe, channels: int = 3) -> int:
    """Count the weights of the filters of a recipe's U-Net without building it.

    It is a little less than the number of all weights: biases, normalisation, the residual blocks' 1x1 convolutions
    and the further convolutions of a dilated bottleneck are left out.
    """
    inputs, weights = channels * recipe.space_to_depth**2, 0
    for level in range(recipe.depth + 1):  # the last one is the bottleneck
        filters = recipe.base_filters << level
        weights += 9 * (inputs * filters + filters**2)
        if (
            level < recipe.depth
        ):  # the decoder: upsampling, and two convolutions of the skip and the upsampled map
            weights += 4 * 2 * filters**2 + 9 * (2 * filters**2 + filters**2)
        inputs = filters
    return weights


def unet_size_spec(recipe: Recipe) -> SizeSpec:
    """Return the valid input sizes of a recipe's U-Net.

    With `valid` padding, a network whose bottleneck's output has n pixels a side returns a map of
    2**depth (n - 4) + 4 pixels: each decoder level doubles the size, and its two convolutions take off 4.
    """
    multiple = recipe.space_to_depth * 2**recipe.depth
    if recipe.padding == "valid":
        return SizeSpec(multiple, 4 % multiple, _valid_margin(recipe.depth))
    return SizeSpec(multiple)


def _head(x: keras.KerasTensor, space_to_depth: int) -> keras.KerasTensor:
    """Add the last layer, in float32. The sigmoid is last of all, so that the loss can be computed from logits."""
    if space_to_depth == 1:
        return layers.Conv2D(1, 1, activation="sigmoid", name="car", dtype="float32")(x)
    x = layers.Conv2D(space_to_depth**2, 1, name="logits", dtype="float32")(x)
    x = DepthToSpace(space_to_depth, name="depth_to_space", dtype="float32")(x)
    return layers.Activation("sigmoid", name="car", dtype="float32")(x)


def _valid_margin(depth: int) -> int:
    """Return the pixels that a `valid` network of this depth loses on each side: 92 of the paper's 572."""
    return 6 * 2**depth - 4


def _skip_crop(recipe: Recipe, level: int) -> int:
    """Return the pixels to crop on each side of a skip: the loss of the levels below, doubled by the upsampling."""
    return 2 * _valid_margin(recipe.depth - level - 1) if recipe.padding == "valid" else 0


def _input_skip_crop(recipe: Recipe) -> int:
    """Return the pixels to crop on each side of the input: the highest skip's and the 2 of its two convolutions."""
    return _skip_crop(recipe, 0) + 2 if recipe.padding == "valid" else 0


def _crop(x: keras.KerasTensor, pixels: int, name: str, recipe: Recipe) -> keras.KerasTensor:
    return layers.Cropping2D(pixels, name=name, dtype=recipe.precision)(x) if pixels else x


def _bottleneck(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    filters = recipe.base_filters << recipe.depth
    if recipe.bottleneck == "plain":
        return _conv_block(x, filters, "bottleneck", recipe)
    outputs = []
    for rate in DILATION_RATES:
        x = _conv3x3(x, filters, f"bottleneck_rate{rate}", recipe, rate)
        x = layers.ReLU(name=f"bottleneck_rate{rate}_relu", dtype=recipe.precision)(x)
        outputs.append(x)
    return layers.Add(name="bottleneck_sum", dtype=recipe.precision)(outputs)


def _upsample(x: keras.KerasTensor, filters: int, name: str, recipe: Recipe) -> keras.KerasTensor:
    if recipe.upsampling == "transposed":
        return layers.Conv2DTranspose(filters, 2, strides=2, name=name, dtype=recipe.precision)(x)
    x = layers.UpSampling2D(name=f"{name}_nearest", dtype=recipe.precision)(x)
    return layers.Conv2D(filters, 2, padding="same", name=name, dtype=recipe.precision)(x)


def _conv_block(x: keras.KerasTensor, filters: int, name: str, recipe: Recipe) -> keras.KerasTensor:
    """Add two 3x3 convolutions, each with its ReLU; a residual block adds its input before the last ReLU."""
    shortcut = x
    x = _conv3x3(x, filters, f"{name}_conv1", recipe)
    x = layers.ReLU(name=f"{name}_conv1_relu", dtype=recipe.precision)(x)
    x = _conv3x3(x, filters, f"{name}_conv2", recipe)
    if recipe.residual:
        shortcut = _crop(shortcut, 2 if recipe.padding == "valid" else 0, f"{name}_shortcut_crop", recipe)
        shortcut = layers.Conv2D(filters, 1, name=f"{name}_shortcut", dtype=recipe.precision)(shortcut)
        x = layers.Add(name=f"{name}_sum", dtype=recipe.precision)([x, shortcut])
    return layers.ReLU(name=f"{name}_conv2_relu", dtype=recipe.precision)(x)


def _conv3x3(
    x: keras.KerasTensor, filters: int, name: str, recipe: Recipe, dilation_rate: int = 1
) -> keras.KerasTensor:
    """Add a 3x3 convolution with the recipe's normalisation."""
    if recipe.norm == "weight_standardized":
        return WeightStandardizedConv2D(
            filters, recipe.padding, dilation_rate, name=name, dtype=recipe.precision
        )(x)
    x = layers.Conv2D(
        filters,
        3,
        padding=recipe.padding,
        dilation_rate=dilation_rate,
        use_bias=recipe.norm == "none",
        name=name,
        dtype=recipe.precision,
    )(x)
    if recipe.norm == "batch":
        x = BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm", dtype=recipe.precision)(x)
    return x
