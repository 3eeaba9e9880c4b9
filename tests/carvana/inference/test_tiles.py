"""Overlap-tile prediction."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carvana.data.padding import SizeSpec, pad
from carvana.inference.predictors import FoldEnsemble
from carvana.inference.tiles import predict_tiled, tile_starts
from carvana.models.build import build, size_spec
from carvana.recipe import read_recipe


@given(st.integers(0, 100), st.integers(1, 300), st.sampled_from([SizeSpec(16, 4, 92), SizeSpec(2, 0, 8)]))
def test_tiles_cover_a_side_exactly(steps: int, largest: int, size_spec: SizeSpec) -> None:
    side = (steps + 1) * size_spec.multiple + size_spec.remainder
    tile, starts = tile_starts(side, size_spec, largest)
    assert tile % size_spec.multiple == size_spec.remainder
    assert tile < largest + 2 * size_spec.multiple
    assert all(
        start % size_spec.multiple == 0 for start in starts
    )  # the pooling of the whole photo starts there
    covered = np.zeros(side, int)
    for start in starts:
        assert start + tile <= side
        covered[start : start + tile] += 1
    assert covered.min() >= 1


def test_the_papers_tile() -> None:
    spec = size_spec(read_recipe("cropped"))
    assert spec.input_size((388, 388)) == (572, 572)
    assert tile_starts(388, spec, 388) == (388, [0])
    assert tile_starts(772, spec, 388) == (388, [0, 384])


def test_tiles_agree_with_the_whole_photo(monkeypatch) -> None:
    recipe = read_recipe("cropped", ["base_filters=2", "depth=2"])
    model, spec = build(recipe), size_spec(recipe)
    photo = np.random.default_rng(0).integers(256, size=(61, 97, 3), dtype=np.uint8)
    padded = pad(photo, spec.input_size((61, 97)))[None]
    shapes = []

    def predict(photos: np.ndarray) -> np.ndarray:
        shapes.append(photos.shape)
        return model.predict_on_batch(photos)[..., 0]

    whole = predict(padded)
    tiled = predict_tiled(predict, padded, spec, largest=30)
    assert len(shapes) == 1 + 3 * 4
    assert np.abs(tiled - whole).max() < 1e-6
    maps, _ = FoldEnsemble([model], spec, (61, 97)).predict([photo])
    assert maps.shape == (1, 1, 61, 97)
    assert np.abs(maps[0, 0] - whole[0, 1:62, 1:98]).max() < 1e-6
