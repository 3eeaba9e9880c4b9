"""Records of predicted photos."""

from pathlib import Path

import numpy as np

from carvana.competition import rle
from carvana.data.dataset import Sample
from carvana.inference.pipeline import Prediction
from carvana.inference.records import make_record


def _prediction(*maps: np.ndarray) -> Prediction:
    return Prediction(Sample(Path("00000000000a_01.jpg")), (80, 120), np.stack(maps), 0.12345678)


def _map(*regions: tuple[slice, slice]) -> np.ndarray:
    """A map (40, 60) that is 1 in some regions."""
    probabilities = np.zeros((40, 60), np.float32)
    for region in regions:
        probabilities[region] = 1
    return probabilities


CAR, SPECK = (slice(5, 30), slice(10, 50)), (slice(35, 36), slice(2, 5))


def test_a_record_measures_the_mean_and_holds_every_mask() -> None:
    record = make_record(_prediction(_map(CAR), _map()), 0.5)
    assert (record.name, record.height, record.width) == ("00000000000a_01.jpg", 80, 120)
    assert record.disagreement == 0.123457
    assert (record.n_components, record.second_area) == (1, 0)
    first, second = (rle.decode(mask, (80, 120)) for mask in record.masks)
    assert record.area == first.sum() == 4 * 25 * 40
    assert not second.any()


def test_components_are_measured_in_the_photos_pixels() -> None:
    record = make_record(_prediction(_map(CAR, SPECK)), 0.5)
    assert (record.n_components, record.second_area) == (2, 3 * 4)
    assert make_record(_prediction(_map()), 0.5).n_components == 0
