"""The U-Net family of the baseline post.

Ronneberger et al., "U-Net: Convolutional ModelEnsemble for Biomedical Image Segmentation", 2015,
https://arxiv.org/abs/1505.04597: with `same` convolutions as the post has them, or cropped as the paper's own.
"""

from dataclasses import asdict

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.models.fitting import CheckInputSize
from carvana.models.folding import DepthToSpace, SpaceToDepth
from carvana.models.standardized import WeightStandardizedConv2D
from carvana.recipe import Recipe

layers = keras.layers

NORM_MOMENTUM = 0.9
"""Of the moving averages in batch normalisation. Keras's 0.99 needs hundreds of steps to forget its start:
a run of 170 steps scored 0.0 with it."""

DILATION_RATES = (1, 2, 4, 8, 16, 32)
"""Of the dilated bottleneck, as the 3rd place has them."""


def unet(recipe: Recipe) -> keras.Model:
    """Build a recipe's U-Net; the baseline's is the post's network (31,031,745 parameters).

    Args:
        recipe: gives width, depth, the blocks' form, dropout, and the precision of the inner layers; the last
            layer is float32 always.

    Returns:
        A model from photos (n, height, width, 3), 0..255, to probabilities (n, height, width, 1), 0..1. Its
        `unet_size_spec` says what sizes it eats.
    """
    photo = keras.Input((None, None, 3), name="photo")
    fitting = CheckInputSize(**asdict(unet_size_spec(recipe)), name="input_size")(photo)
    bright = layers.Rescaling(1 / 255, name="unit_range")(fitting)
    entrance = (
        SpaceToDepth(recipe.space_to_depth, name="fold", dtype=recipe.precision)(bright)
        if recipe.space_to_depth > 1
        else bright
    )
    x, skips = entrance, []
    for level in range(recipe.depth):
        x = _block(x, recipe.base_filters << level, f"encoder{level}", recipe)
        skips.append(x)
        x = layers.MaxPooling2D(name=f"encoder{level}_pool", dtype=recipe.precision)(x)
    if recipe.dropout:
        x = layers.Dropout(recipe.dropout, name="dropout", dtype=recipe.precision)(x)
    x = _bottom(x, recipe)
    for level in reversed(range(recipe.depth)):
        x = _upsampled(x, recipe.base_filters << level, f"decoder{level}_up", recipe)
        beside = [_cropped(skips[level], _skip_crop(recipe, level), f"decoder{level}_crop", recipe), x]
        if recipe.input_skip and level == 0:
            beside.append(_cropped(entrance, _photo_crop(recipe), "photo_crop", recipe))
        x = layers.Concatenate(name=f"decoder{level}_skip", dtype=recipe.precision)(beside)
        x = _block(x, recipe.base_filters << level, f"decoder{level}", recipe)
    return keras.Model(photo, _probabilities(x, recipe.space_to_depth), name="unet")


def _probabilities(x: keras.KerasTensor, fold: int) -> keras.KerasTensor:
    """The last layer, in float32; the sigmoid comes last of all, so that the loss can be taken before it."""
    if fold == 1:
        return layers.Conv2D(1, 1, activation="sigmoid", name="car", dtype="float32")(x)
    x = layers.Conv2D(fold**2, 1, name="car_folded", dtype="float32")(x)
    x = DepthToSpace(fold, name="unfold", dtype="float32")(x)
    return layers.Activation("sigmoid", name="car", dtype="float32")(x)


def unet_size_spec(recipe: Recipe) -> SizeSpec:
    """What sizes a recipe's U-Net eats.

    A cropped one whose lowest level ends with n pixels answers with 2**depth (n - 4) + 4: each decoder stage
    doubles, and its two convolutions take 4.
    """
    multiple = recipe.space_to_depth * 2**recipe.depth
    return (
        SizeSpec(multiple, 4 % multiple, _lost(recipe.depth))
        if (recipe.padding == "valid")
        else SizeSpec(multiple)
    )


def _lost(depth: int) -> int:
    """Pixels that a cropped network of this depth loses on each side: 92 of the paper's 572."""
    return 6 * 2**depth - 4


def _skip_crop(recipe: Recipe, level: int) -> int:
    """Pixels to crop on each side of a skip: what the levels below have lost, doubled by the upsampling."""
    return 2 * _lost(recipe.depth - level - 1) if (recipe.padding == "valid") else 0


def _photo_crop(recipe: Recipe) -> int:
    """As the highest skip's, before its two convolutions took 2 pixels."""
    return _skip_crop(recipe, 0) + 2 if (recipe.padding == "valid") else 0


def _cropped(x: keras.KerasTensor, pixels: int, name: str, recipe: Recipe) -> keras.KerasTensor:
    return layers.Cropping2D(pixels, name=name, dtype=recipe.precision)(x) if pixels else x


def _bottom(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    filters = recipe.base_filters << recipe.depth
    if recipe.bottleneck == "plain":
        return _block(x, filters, "bottom", recipe)
    seen = []
    for rate in DILATION_RATES:
        x = _convolution(x, filters, f"bottom_rate{rate}", recipe, rate)
        x = layers.ReLU(name=f"bottom_rate{rate}_relu", dtype=recipe.precision)(x)
        seen.append(x)
    return layers.Add(name="bottom_sum", dtype=recipe.precision)(seen)


def _upsampled(x: keras.KerasTensor, filters: int, name: str, recipe: Recipe) -> keras.KerasTensor:
    if recipe.upsampling == "transposed":
        return layers.Conv2DTranspose(filters, 2, strides=2, name=name, dtype=recipe.precision)(x)
    x = layers.UpSampling2D(name=f"{name}_repeat", dtype=recipe.precision)(x)
    return layers.Conv2D(filters, 2, padding="same", name=name, dtype=recipe.precision)(x)


def _block(x: keras.KerasTensor, filters: int, name: str, recipe: Recipe) -> keras.KerasTensor:
    """Two convolutions, each with its ReLU; a residual one adds its input before the last."""
    before = x
    x = _convolution(x, filters, f"{name}_conv1", recipe)
    x = layers.ReLU(name=f"{name}_conv1_relu", dtype=recipe.precision)(x)
    x = _convolution(x, filters, f"{name}_conv2", recipe)
    if recipe.residual:
        before = _cropped(before, 2 if (recipe.padding == "valid") else 0, f"{name}_shortcut_crop", recipe)
        before = layers.Conv2D(filters, 1, name=f"{name}_shortcut", dtype=recipe.precision)(before)
        x = layers.Add(name=f"{name}_sum", dtype=recipe.precision)([x, before])
    return layers.ReLU(name=f"{name}_conv2_relu", dtype=recipe.precision)(x)


def _convolution(
    x: keras.KerasTensor, filters: int, name: str, recipe: Recipe, rate: int = 1
) -> keras.KerasTensor:
    shape = {"padding": "valid" if (recipe.padding == "valid") else "same", "dilation_rate": rate}
    options = {"name": name, "dtype": recipe.precision}
    if recipe.norm == "weight_standardized":
        return WeightStandardizedConv2D(filters, **shape, **options)(x)
    x = layers.Conv2D(filters, 3, use_bias=recipe.norm == "none", **shape, **options)(x)
    if recipe.norm == "batch":
        x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm", dtype=recipe.precision)(x)
    return x
