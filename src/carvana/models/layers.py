"""Keras layers that the networks share. Each of them serialises, so that a saved network loads without its recipe."""

import math
from dataclasses import asdict
from typing import Any

from carvana.backend import keras
from carvana.data.padding import SizeSpec

ops = keras.ops

NORM_MOMENTUM = 0.9
"""Momentum of the moving averages in batch normalisation. Keras's default of 0.99 needs hundreds of steps to forget
its initial values: a run of 170 steps scored a Dice of 0.0 with it."""

_RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))
"""Factor that keeps the variance of a ReLU's output at 1 for a normally distributed input."""

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("carvana")
class CheckInputSize(keras.layers.Layer):
    """Identity layer that refuses photos of a size that the network cannot process.

    Without it, such a photo fails at a concatenation inside the network, with an error that does not name the valid
    size.
    """

    def __init__(self, multiple: int, remainder: int, margin: int, **options: Any) -> None:
        """Initialize with the fields of the network's `SizeSpec` and the options of a Keras layer."""
        super().__init__(**options)
        self.size_spec = SizeSpec(multiple, remainder, margin)

    def call(self, photos: keras.KerasTensor) -> keras.KerasTensor:
        """Return the photos (n, height, width, 3) unchanged.

        Raises:
            ValueError: their size is not valid. A size that is unknown, while a graph is traced, is not checked.
        """
        height, width = photos.shape[1:3]
        if not (isinstance(height, int) and isinstance(width, int)):  # None, or a symbolic dimension of JAX
            return photos
        valid = self.size_spec.nearest_input((height, width))
        if valid != (height, width):
            raise ValueError(
                f"photos of height {height} and width {width} do not fit this network; pad or resize them to"
                f" height {valid[0]} and width {valid[1]}"
            )
        return photos

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape. Without this method, Keras would call the layer with an arbitrary size."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | asdict(self.size_spec)


@keras.saving.register_keras_serializable("carvana")
class WeightStandardizedConv2D(keras.layers.Layer):
    """3x3 convolution whose filters have mean 0 and a fixed norm, times a learnt gain, plus a bias.

    Scaled weight standardisation, https://arxiv.org/abs/2101.08692. Like batch normalisation it keeps activations at
    one scale whatever the learning rate does to the weights. It costs next to nothing, because filters are small
    compared with feature maps, and a photo's output does not depend on the other photos of its batch.
    """

    def __init__(self, filters: int, padding: str = "same", dilation_rate: int = 1, **options: Any) -> None:
        """Create the layer.

        Args:
            filters: output channels.
            padding: `same` or `valid`.
            dilation_rate: spacing of the filter's taps, in pixels.
            options: of a Keras layer, e.g. `name` and `dtype`.
        """
        super().__init__(**options)
        self.filters, self.padding, self.dilation_rate = filters, padding, dilation_rate

    def build(self, input_shape: Shape) -> None:
        """Create the filters (3, 3, channels, filters), their gain and the bias."""
        # Standardised in float32, whatever the precision of the feature maps is.
        self.kernel = self.add_weight(
            (3, 3, input_shape[-1], self.filters), initializer="he_normal", name="kernel", autocast=False
        )
        self.gain = self.add_weight((self.filters,), initializer="ones", name="gain", autocast=False)
        self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Convolve feature maps (n, height, width, channels)."""
        raw = ops.convert_to_tensor(self.kernel)  # JAX's own functions do not accept a Keras variable
        mean, variance = ops.moments(raw, axes=(0, 1, 2), keepdims=True)
        fan_in = 9 * raw.shape[2]
        scale = self.gain * _RELU_GAIN * ops.rsqrt(variance * fan_in + 1e-4)
        kernel = ops.cast((raw - mean) * scale, x.dtype)
        return ops.conv(x, kernel, padding=self.padding, dilation_rate=self.dilation_rate) + self.bias

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return (n, height, width, filters); `valid` padding takes off `2 * dilation_rate` pixels of each side."""
        lost = 2 * self.dilation_rate if self.padding == "valid" else 0
        sides = [None if side is None else side - lost for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        arguments = {"filters": self.filters, "padding": self.padding, "dilation_rate": self.dilation_rate}
        return super().get_config() | arguments


@keras.saving.register_keras_serializable("carvana")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of feature maps, which TensorFlow computes as one operation where that is faster.

    Keras's own layer converts the maps to float32 and passes over them several times, which on a processor takes as
    long as the convolutions. It is used on other backends, and for numbers of channels that oneDNN's kernel does not
    fit. The variance of a batch moves the average as an unbiased estimate (divided by n - 1) in TensorFlow's
    operation, and divided by n in Keras's layer.
    """

    def call(
        self, x: keras.KerasTensor, training: bool | None = None, mask: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """Normalise feature maps (n, height, width, channels) by channel.

        In training, mean and variance are those of the batch, and the moving averages are updated.
        """
        # oneDNN computes so many channels at once. Where they are a multiple, it is 2 to 5 times as fast as Keras's
        # layer, otherwise 0.3 to 1.3 times. On a GPU the same rule is used, and was not measured.
        lanes = 8 if keras.backend.standardize_dtype(x.dtype) == "float32" else 16
        if keras.backend.backend() != "tensorflow" or x.shape[-1] % lanes:
            return super().call(x, training=training, mask=mask)
        import tensorflow

        trains = bool(training and self.trainable)
        channels = (x.shape[-1],)
        y, mean, variance = tensorflow.compat.v1.nn.fused_batch_norm(
            x,
            ops.convert_to_tensor(self.gamma) if self.scale else ops.ones(channels, "float32"),
            ops.convert_to_tensor(self.beta) if self.center else ops.zeros(channels, "float32"),
            None if trains else ops.convert_to_tensor(self.moving_mean),
            None if trains else ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=trains,
        )
        if trains:
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(average * self.momentum + value * (1 - self.momentum))
        return y


class _BlockLayer(keras.layers.Layer):
    """Base of the two layers that move pixels between space and channels; it has no weights."""

    def __init__(self, block_size: int, **options: Any) -> None:
        """Initialize with the side of a block, at least 2 pixels, and the options of a Keras layer."""
        super().__init__(**options)
        self.block_size = block_size

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape that Keras's own operation computes, also for unknown sides."""
        return self.call(keras.KerasTensor(input_shape)).shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {"block_size": self.block_size}


@keras.saving.register_keras_serializable("carvana")
class SpaceToDepth(_BlockLayer):
    """Layer of `keras.ops.space_to_depth`: (n, h, w, c) to (n, h / block_size, w / block_size, c * block_size²)."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Rearrange feature maps whose sides are multiples of the block's."""
        return ops.space_to_depth(x, self.block_size)


@keras.saving.register_keras_serializable("carvana")
class DepthToSpace(_BlockLayer):
    """Layer of `keras.ops.depth_to_space`: (n, h, w, c * block_size²) to (n, h * block_size, w * block_size, c).

    The sub-pixel convolution's shuffle, https://arxiv.org/abs/1609.05158.
    """

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Rearrange feature maps whose channels are a multiple of `block_size²`."""
        return ops.depth_to_space(x, self.block_size)
