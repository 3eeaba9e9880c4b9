"""The U-Net family of the baseline post.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
https://arxiv.org/abs/1505.04597, with `same` convolutions as the post has them.
"""

from carvana.backend import keras

layers = keras.layers

NORM_MOMENTUM = 0.9
"""Of the moving averages in batch normalisation. Keras's 0.99 needs hundreds of steps to forget its start:
a run of 170 steps scored 0.0 with it."""


def unet(
    *,
    width: int = 64,
    depth: int = 4,
    batch_norm: bool = False,
    dropout: float = 0.0,
    precision: str = "float32",
) -> keras.Model:
    """Build a U-Net; the defaults, with dropout 0.3, are the post's network (31,031,745 parameters).

    Args:
        width: filters of the first level; each level below has twice as many.
        depth: how often the photo is halved; its sides must be divisible by 2**depth.
        batch_norm: normalise after each 3x3 convolution.
        dropout: share of features dropped before the lowest level.
        precision: Keras dtype policy of the inner layers; the last one is float32 always.

    Returns:
        A model from photos (n, height, width, 3), 0..255, to probabilities (n, height, width, 1), 0..1.
    """
    policy = keras.DTypePolicy(precision)
    photo = keras.Input((None, None, 3), name="photo")
    x = layers.Rescaling(1 / 255, name="unit_range")(photo)
    skips = []
    for level in range(depth):
        x = _two_convolutions(x, width << level, f"encoder{level}", batch_norm, policy)
        skips.append(x)
        x = layers.MaxPooling2D(name=f"encoder{level}_pool", dtype=policy)(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout", dtype=policy)(x)
    x = _two_convolutions(x, width << depth, "bottom", batch_norm, policy)
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(width << level, 2, strides=2, name=f"decoder{level}_up", dtype=policy)(x)
        x = layers.Concatenate(name=f"decoder{level}_skip", dtype=policy)([skips[level], x])
        x = _two_convolutions(x, width << level, f"decoder{level}", batch_norm, policy)
    car = layers.Conv2D(1, 1, activation="sigmoid", name="car", dtype="float32")(x)
    return keras.Model(photo, car, name="unet")


def _two_convolutions(
    x: keras.KerasTensor, filters: int, name: str, batch_norm: bool, policy: keras.DTypePolicy
) -> keras.KerasTensor:
    for number in (1, 2):
        part = f"{name}_conv{number}"
        x = layers.Conv2D(filters, 3, padding="same", use_bias=not batch_norm, name=part, dtype=policy)(x)
        if batch_norm:
            x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{part}_norm", dtype=policy)(x)
        x = layers.ReLU(name=f"{part}_relu", dtype=policy)(x)
    return x
