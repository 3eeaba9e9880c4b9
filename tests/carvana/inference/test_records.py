"""What is kept of a predicted photo."""

from pathlib import Path

import numpy as np

from carvana.competition import rle
from carvana.data.dataset import Sample
from carvana.inference.pipeline import Prediction, PreparedSample
from carvana.inference.records import record_maker


def _answer(*maps: np.ndarray) -> Prediction:
    photo = Sample(Path("00000000000a_01.jpg"))
    return Prediction(PreparedSample(photo, (80, 120), []), np.stack(maps), 0.12345678)


def _map(*pieces: tuple[slice, slice]) -> np.ndarray:
    """A map (40, 60) that is 1 in some places."""
    probabilities = np.zeros((40, 60), np.float32)
    for piece in pieces:
        probabilities[piece] = 1
    return probabilities


CAR, SPECK = (slice(5, 30), slice(10, 50)), (slice(35, 36), slice(2, 5))


def test_a_row_tells_of_the_mean_and_holds_every_mask() -> None:
    mean, other = _map(CAR), _map()
    row = record_maker(0.5, None)(_answer(mean, other))
    assert (row.name, row.height, row.width, row.disagreement) == ("00000000000a_01.jpg", 80, 120, 0.123457)
    assert (row.n_components, row.second_area) == (1, 0)
    first, second = (rle.decode(mask, (80, 120)) for mask in row.masks)
    assert row.area == first.sum() == 4 * 25 * 40
    assert not second.any()


def test_pieces_are_counted_in_the_photos_pixels() -> None:
    row = record_maker(0.5, None)(_answer(_map(CAR, SPECK)))
    assert (row.n_components, row.second_area) == (2, 3 * 4)
    assert record_maker(0.5, None)(_answer(_map())).n_components == 0


def test_the_mean_map_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    record_maker(0.5, tmp_path)(_answer(_map(CAR), _map()))
    assert [path.name for path in tmp_path.iterdir()] == ["00000000000a_01.png"]
