"""ModelEnsemble asked together."""

import numpy as np
import pytest

from carvana.backend import keras
from carvana.data import images
from carvana.data.padding import SizeSpec
from carvana.inference.ensemble import ModelEnsemble
from carvana.inference.maps import probability_maps

ops = keras.ops


def _network(answer) -> keras.Model:
    photo = keras.Input((None, None, 3))
    return keras.Model(photo, keras.layers.Lambda(answer)(photo))


def _brightness() -> keras.Model:
    """A network whose map is the photo's red."""
    return _network(lambda photos: photos[..., :1] / 255)


def _left() -> keras.Model:
    """A network that calls the left half car, whatever it sees."""

    def answer(photos):
        columns = ops.cumsum(ops.ones_like(photos[..., :1]), axis=2)
        return ops.cast(columns <= ops.max(columns) / 2, "float32")

    return _network(answer)


def _no() -> keras.Model:
    return _network(lambda photos: photos[..., :1] * 0)


@pytest.fixture
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(5, 30, 44, 3), dtype=np.uint8)


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_maps_lie_where_the_photo_does(photos: np.ndarray, tta: str) -> None:
    """Whatever is padded around it for the network, and however it is mirrored."""
    maps = list(probability_maps([_brightness()], photos, size_spec=SizeSpec(16), tta=tta, batch=2))
    assert np.allclose(np.stack(maps)[:, 0], photos[..., 0] / 255)


def test_flips_are_turned_back_before_the_mean(photos: np.ndarray) -> None:
    maps, _ = ModelEnsemble([_brightness(), _left()], SizeSpec(), tta="flip", per_fold=True).predict(photos)
    assert maps.shape == (5, 3, 30, 44)
    assert np.allclose(maps[:, 1], photos[..., 0] / 255)
    assert np.unique(maps[:, 2]).tolist() == [0.5]
    assert np.allclose(maps[:, 0], maps[:, 1:].mean(axis=1))


def test_scales_are_the_mean_over_three_sizes(photos: np.ndarray) -> None:
    seen = [images.resize(photos[0], size) for size in [(30, 44), (27, 40), (33, 48)]]
    expected = sum(images.resize(one[..., 0].astype(np.float32), (30, 44)) for one in seen) / 3 / 255
    (maps,) = probability_maps([_brightness()], photos[:1], size_spec=SizeSpec(4), tta="scales")
    assert np.allclose(maps[0], expected, atol=1e-6)


def test_the_spread_is_that_of_the_networks(photos: np.ndarray) -> None:
    """Of a map that is red, and of nothing: deviation and mean are alike. ModelEnsemble that agree have none."""
    assert np.allclose(ModelEnsemble([_brightness(), _no()], SizeSpec(16)).predict(photos).disagreement, 1)
    assert np.allclose(
        ModelEnsemble([_brightness(), _brightness()], SizeSpec(16)).predict(photos).disagreement, 0, atol=1e-6
    )
    assert ModelEnsemble([_brightness()], SizeSpec(16)).predict(photos).disagreement.tolist() == [0] * 5


def test_a_network_answers_for_one_photo_as_for_many(photos: np.ndarray) -> None:
    networks = ModelEnsemble([_brightness(), _left()], SizeSpec(8), tta="flip")
    assert np.allclose(networks.predict(photos).maps[2:3], networks.predict(photos[2:3]).maps)
