"""Valid sizes of networks, padding and cropping."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carvana.data.padding import SizeSpec, crop, pad

sides = st.integers(1, 70)
size_specs = st.sampled_from(
    [SizeSpec(), SizeSpec(2), SizeSpec(16), SizeSpec(32), SizeSpec(16, 4, 92), SizeSpec(2, 0, 8)]
)


@given(sides, sides, size_specs)
def test_crop_inverts_pad(height: int, width: int, size_spec: SizeSpec) -> None:
    photo = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    padded = pad(photo, size_spec.input_size((height, width)))
    assert np.array_equal(crop(padded, (height, width)), photo)
    inner = crop(padded, size_spec.map_size((height, width)))  # the map of a network with a margin
    assert np.array_equal(crop(inner, (height, width)), photo)


@given(sides, sides, size_specs)
def test_smallest_valid_size_is_found(height: int, width: int, size_spec: SizeSpec) -> None:
    map_size = size_spec.map_size((height, width))
    for side, at_least in zip(map_size, (height, width), strict=True):
        assert side % size_spec.multiple == size_spec.remainder
        assert side - size_spec.multiple < at_least <= side
    input_size = size_spec.input_size((height, width))
    assert input_size == (map_size[0] + 2 * size_spec.margin, map_size[1] + 2 * size_spec.margin)
    assert size_spec.nearest_input(input_size) == input_size


def test_carvana_photos_are_padded_by_one_column_on_each_side() -> None:
    assert SizeSpec(32).input_size((1280, 1918)) == (1280, 1920)
    row = np.arange(14, dtype=np.float32)[None]
    assert pad(row, (16, 16))[8].tolist() == [1, *range(14), 12]
