"""Overlap-tiles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carvana.data.padding import Frame, pad
from carvana.inference import maps
from carvana.inference.tiles import in_tiles, tiles_of
from carvana.models.build import build, frame_of
from carvana.recipe import read_recipe


@given(st.integers(0, 100), st.integers(1, 300), st.sampled_from([Frame(16, 4, 92), Frame(2, 0, 8)]))
def test_tiles_cover_a_side_exactly(steps: int, largest: int, frame: Frame) -> None:
    side = (steps + 1) * frame.multiple + frame.remainder
    tile, starts = tiles_of(side, frame, largest)
    assert tile % frame.multiple == frame.remainder
    assert tile < largest + 2 * frame.multiple
    assert all(start % frame.multiple == 0 for start in starts)  # where the pooling of the whole photo starts
    covered = np.zeros(side, int)
    for start in starts:
        assert start + tile <= side
        covered[start : start + tile] += 1
    assert covered.min() >= 1


def test_the_papers_tile() -> None:
    frame = frame_of(read_recipe("cropped"))
    assert frame.input_size((388, 388)) == (572, 572)
    assert tiles_of(388, frame, 388) == (388, [0])
    assert tiles_of(772, frame, 388) == (388, [0, 384])


def test_tiles_agree_with_the_whole_photo(monkeypatch) -> None:
    recipe = read_recipe("cropped", ["width=2", "depth=2"])
    model, frame = build(recipe), frame_of(recipe)
    photo = np.random.default_rng(0).integers(256, size=(61, 97, 3), dtype=np.uint8)
    padded = pad(photo, frame.input_size((61, 97)))[None]
    asked = []

    def ask(photos: np.ndarray) -> np.ndarray:
        asked.append(photos.shape)
        return model.predict_on_batch(photos)[..., 0]

    whole = ask(padded)
    tiled = in_tiles(ask, padded, frame, largest=30)
    assert len(asked) == 1 + 3 * 4
    assert np.abs(tiled - whole).max() < 1e-6
    (of_photo,) = maps.probability_maps([model], [photo], frame=frame)
    assert of_photo.shape == (1, 61, 97)
    assert np.abs(of_photo[0] - whole[0, 1:62, 1:98]).max() < 1e-6
