"""Pixels folded into channels, and back."""

from carvana.backend import keras

ops = keras.ops


@keras.saving.register_keras_serializable("carvana")
class SpaceToDepth(keras.layers.Layer):
    """Squares of `side` pixels become the channels of one pixel: (n, h, w, c) to (n, h/side, w/side, c side²).

    The sub-pixel convolution's shuffle, https://arxiv.org/abs/1609.05158, the other way round.
    """

    def __init__(self, side: int, **options: object) -> None:
        """Take the squares' side, and the options of a Keras layer."""
        super().__init__(**options)
        self.side = side

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """SpaceToDepth maps whose sides `side` divides."""
        (height, width, channels), s = ops.shape(x)[1:], self.side
        x = ops.reshape(x, (-1, height // s, s, width // s, s, channels))
        return ops.reshape(
            ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height // s, width // s, s * s * channels)
        )

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Smaller by `side`, with more channels."""
        sides = [None if side is None else side // self.side for side in shape[1:3]]
        return (shape[0], *sides, shape[3] * self.side**2)

    def get_config(self) -> dict:
        """What to build it again from."""
        return super().get_config() | {"side": self.side}


@keras.saving.register_keras_serializable("carvana")
class DepthToSpace(SpaceToDepth):
    """The way back: (n, h, w, c side²) to (n, h side, w side, c)."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """DepthToSpace maps."""
        (height, width, channels), s = ops.shape(x)[1:], self.side
        channels //= s * s
        x = ops.reshape(x, (-1, height, width, s, s, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height * s, width * s, channels))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Larger by `side`, with fewer channels."""
        sides = [None if side is None else side * self.side for side in shape[1:3]]
        return (shape[0], *sides, shape[3] // self.side**2)
