"""Predictors of probability maps."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from carvana.backend import keras
from carvana.data import images
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import FoldEnsemble, SavedMaps, WeightedEnsemble, map_path, save_map

ops = keras.ops

SIZE = (30, 44)


def _network(function) -> keras.Model:
    photo = keras.Input((None, None, 3))
    return keras.Model(photo, keras.layers.Lambda(function)(photo))


def _red() -> keras.Model:
    """A network whose map is the photo's red channel."""
    return _network(lambda photos: photos[..., :1] / 255)


def _left() -> keras.Model:
    """A network that predicts car in the left half of any photo."""

    def left_half(photos):
        columns = ops.cumsum(ops.ones_like(photos[..., :1]), axis=2)
        return ops.cast(columns <= ops.max(columns) / 2, "float32")

    return _network(left_half)


def _background() -> keras.Model:
    """A network that predicts no car at all."""
    return _network(lambda photos: photos[..., :1] * 0)


@pytest.fixture
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(5, *SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_padding_and_flips_leave_maps_aligned_with_the_photo(photos: np.ndarray, tta: str) -> None:
    maps, _ = FoldEnsemble([_red()], SizeSpec(16), SIZE, tta=tta).predict(photos)
    assert np.allclose(maps[:, 0], photos[..., 0] / 255)


def test_flips_are_turned_back_before_the_mean(photos: np.ndarray) -> None:
    ensemble = FoldEnsemble([_red(), _left()], SizeSpec(), SIZE, tta="flip", per_fold=True)
    maps, _ = ensemble.predict(photos)
    assert maps.shape == (5, 3, *SIZE)
    assert np.allclose(maps[:, 1], photos[..., 0] / 255)
    assert np.unique(maps[:, 2]).tolist() == [0.5]
    assert np.allclose(maps[:, 0], maps[:, 1:].mean(axis=1))


def test_scales_are_the_mean_over_three_sizes(photos: np.ndarray) -> None:
    scaled = [images.resize(photos[0], size) for size in [SIZE, (27, 40), (33, 48)]]
    expected = sum(images.resize(one[..., 0].astype(np.float32), SIZE) for one in scaled) / 3 / 255
    maps, _ = FoldEnsemble([_red()], SizeSpec(4), SIZE, tta="scales").predict(photos[:1])
    assert np.allclose(maps[0, 0], expected, atol=1e-6)


def test_disagreement_is_that_of_the_networks(photos: np.ndarray) -> None:
    """For a map and an empty one, deviation and mean are equal; networks that agree have no deviation."""
    different = FoldEnsemble([_red(), _background()], SizeSpec(16), SIZE).predict(photos)
    alike = FoldEnsemble([_red(), _red()], SizeSpec(16), SIZE).predict(photos)
    single = FoldEnsemble([_red()], SizeSpec(16), SIZE).predict(photos)
    assert np.allclose(different.disagreement, 1)
    assert np.allclose(alike.disagreement, 0, atol=1e-6)
    assert single.disagreement.tolist() == [0] * 5


def test_one_photo_is_predicted_as_in_a_batch(photos: np.ndarray) -> None:
    ensemble = FoldEnsemble([_red(), _left()], SizeSpec(8), SIZE, tta="flip")
    assert np.allclose(ensemble.predict(photos).maps[2:3], ensemble.predict(photos[2:3]).maps)


def _maps(probabilities: np.ndarray, disagreement: float = 0.0) -> ProbabilityMaps:
    return ProbabilityMaps(probabilities[None].astype(np.float32), np.float32(disagreement))


def test_maps_are_weighted_at_the_largest_size() -> None:
    small, large = np.array([[0.0, 1.0]]), np.full((2, 4), 0.5)
    combined = WeightedEnsemble((), (0.75, 0.25)).combine([_maps(small, 0.4), _maps(large, 0.8)])
    enlarged = cv2.resize(small.astype(np.float32), (4, 2), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(combined.maps, 0.75 * enlarged + 0.25 * 0.5)
    assert combined.disagreement == pytest.approx(0.5)


def test_a_single_predictors_maps_are_returned_unchanged() -> None:
    maps = _maps(np.array([[0.1, 0.2]]))
    assert WeightedEnsemble(()).combine([maps]) is maps


def test_saved_maps_are_exact_to_half_a_level(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).random((5, 7), np.float32)
    save_map(map_path(tmp_path, "x_01.jpg"), probabilities)
    predictor = SavedMaps(tmp_path)
    read = predictor.prepare("x_01.jpg", None)
    assert np.abs(read - probabilities).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(predictor.predict([read, read]).maps[1, 0], read)
    with pytest.raises(UserError, match=r"y_01\.png: no such map"):
        predictor.prepare("y_01.jpg", None)


def _png(levels: np.ndarray) -> bytes:
    return cv2.imencode(".png", levels)[1].tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"b\.png: not an image that Pillow reads, or a damaged one$"),
        (b"text", r"b\.png: not an image that Pillow reads, or a damaged one$"),
        (_png(np.zeros((5, 7), np.uint8))[:-25], r"b\.png: not a whole image"),
        (_png(np.zeros((5, 7, 3), np.uint8)), r"b\.png: not grey with 8 bits"),
        (_png(np.zeros((5, 7), np.uint16)), r"b\.png: not grey with 8 bits"),
        (_png(np.zeros((5, 8), np.uint8)), r"b\.png: is 8x5, but .*a\.png is 7x5"),
    ],
)
def test_a_damaged_saved_map_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    save_map(tmp_path / "a.png", np.zeros((5, 7), np.float32))
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(UserError, match=message):
        SavedMaps(tmp_path).prepare("b.jpg", None)


def test_a_folder_without_saved_maps_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no saved maps"):
        SavedMaps(tmp_path)
