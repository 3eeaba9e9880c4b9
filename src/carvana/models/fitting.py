"""The size of a photo, checked at a network's entrance."""

from dataclasses import asdict

from carvana.backend import keras
from carvana.data.padding import SizeSpec


@keras.saving.register_keras_serializable("carvana")
class CheckInputSize(keras.layers.Layer):
    """Lets photos through whose size the network eats.

    Any other would end in a concatenation somewhere inside, with an error that names layers and no way out.
    """

    def __init__(self, multiple: int, remainder: int, margin: int, **options: object) -> None:
        """Take the size_spec of the network, and the options of a Keras layer."""
        super().__init__(**options)
        self.size_spec = SizeSpec(multiple, remainder, margin)

    def call(self, photos: keras.KerasTensor) -> keras.KerasTensor:
        """Pass photos (n, height, width, 3) on.

        Raises:
            ValueError: their size does not fit. Where a graph is drawn for any size it is not known yet.
        """
        height, width = photos.shape[1:3]
        if not (isinstance(height, int) and isinstance(width, int)):  # None, or a symbol of JAX
            return photos
        fitting = self.size_spec.nearest_input((height, width))
        if fitting != (height, width):
            raise ValueError(
                f"photos of height {height} and width {width} do not fit this network; pad or resize them to"
                f" height {fitting[0]} and width {fitting[1]}"
            )
        return photos

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As it came. Without this Keras would find out by photos of an arbitrary size."""
        return shape

    def get_config(self) -> dict:
        """What to build it again from."""
        return super().get_config() | asdict(self.size_spec)
