"""Convolutions that normalise their weights, not what flows through them."""

import math

from carvana.backend import keras

ops = keras.ops

_RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))
"""What keeps the variance of a ReLU's output at 1, where its input is normally distributed."""


@keras.saving.register_keras_serializable("carvana")
class WeightStandardizedConv2D(keras.layers.Layer):
    """A 3x3 convolution whose filters have mean 0 and a fixed length, times a learnt gain, plus a bias.

    Scaled weight standardisation, https://arxiv.org/abs/2101.08692. Like batch normalisation it keeps signals at
    one scale, whatever the rate does to the weights; it costs next to nothing, as filters are few beside pixels, and
    a photo's map does not depend on the others of its batch.
    """

    def __init__(
        self, filters: int, padding: str = "same", dilation_rate: int = 1, **options: object
    ) -> None:
        """Take the number of filters, `same` or `valid`, the dilation, and the options of a Keras layer."""
        super().__init__(**options)
        self.filters, self.padding, self.dilation_rate = filters, padding, dilation_rate

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the filters (3, 3, channels, filters), their gain and the bias."""
        whole = {"autocast": False}  # standardised in float32, whatever the maps are in
        self.kernel = self.add_weight(
            (3, 3, shape[-1], self.filters), initializer="he_normal", name="kernel", **whole
        )
        self.gain = self.add_weight((self.filters,), initializer="ones", name="gain", **whole)
        self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Convolve (n, height, width, channels)."""
        raw = ops.convert_to_tensor(self.kernel)  # JAX's own functions take no Keras variable
        mean, variance = ops.moments(raw, axes=(0, 1, 2), keepdims=True)
        fan_in = 9 * raw.shape[2]
        scale = self.gain * _RELU_GAIN * ops.rsqrt(variance * fan_in + 1e-4)
        kernel = ops.cast((raw - mean) * scale, x.dtype)
        return ops.conv(x, kernel, padding=self.padding, dilation_rate=self.dilation_rate) + self.bias

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As a convolution's."""
        lost = 2 * self.dilation_rate if self.padding == "valid" else 0
        sides = [None if side is None else side - lost for side in shape[1:3]]
        return (shape[0], *sides, self.filters)

    def get_config(self) -> dict:
        """What to build it again from."""
        own = {"filters": self.filters, "padding": self.padding, "dilation_rate": self.dilation_rate}
        return super().get_config() | own
