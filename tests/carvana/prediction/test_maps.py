"""From photos to maps to masks."""

import numpy as np
import pytest

from carvana.data.padding import Frame
from carvana.prediction.maps import mask_of, probability_maps


class Brightness:
    """A network whose map is the photo's red, and that counts how much it is asked at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def predict_on_batch(self, photos: np.ndarray) -> np.ndarray:
        self.asked.append(photos.shape)
        return photos[..., :1].astype(np.float32) / 255


class LeftHalf:
    """A network that calls the left half car, whatever it sees."""

    def predict_on_batch(self, photos: np.ndarray) -> np.ndarray:
        maps = np.zeros((*photos.shape[:3], 1), np.float32)
        maps[:, :, : photos.shape[2] // 2] = 1
        return maps


@pytest.fixture
def photos() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(256, size=(5, 30, 45, 3), dtype=np.uint8))


def test_maps_come_in_order_padded_for_the_network_only(photos: list[np.ndarray]) -> None:
    network = Brightness()
    maps = list(probability_maps([network], photos, frame=Frame(16), batch=2))
    assert [shape[1:3] for shape in network.asked] == [(32, 48)] * 3
    for photo, of_models in zip(photos, maps, strict=True):
        assert np.allclose(of_models, photo[None, ..., 0] / 255)


def test_flips_are_turned_back_before_the_mean(photos: list[np.ndarray]) -> None:
    (maps, *_) = probability_maps([Brightness(), LeftHalf()], photos, frame=Frame(), tta="flip")
    assert np.allclose(maps[0], photos[0][..., 0] / 255)
    assert np.unique(maps[1][:, :22]).tolist() == [0.5]


def test_the_map_is_upsampled_before_the_threshold() -> None:
    """A slope from 0 to 1 over two pixels has its half in the middle of the photo."""
    mask = mask_of(np.array([[0.0, 1.0]], np.float32), (1, 200), 0.5)
    assert mask.dtype == bool
    assert mask.sum() == 100
    assert mask_of(np.array([[0.0, 1.0]], np.float32), (1, 200), 0.75).sum() == 75
