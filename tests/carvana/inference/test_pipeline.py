"""The stream from photos to predictions."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.prediction_helpers import probability_maps

from carvana.backend import keras
from carvana.data import images
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.pipeline import fit_size, predict_stream
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.inference.refinement import Refiner
from carvana.models.build import build, size_spec
from carvana.recipe import Recipe, Refine, read_recipe

SIZE = (30, 50)


def _recipe(*changes: str) -> Recipe:
    stages = "stages=[{size=[30, 50], epochs=1, batch_size=1, learning_rate=1e-3}]"
    return read_recipe("miniature", ["base_filters=2", "depth=2", "precision=float32", stages, *changes])


class Fixed:
    """A predictor whose map is a square of car, times a probability, and whose refiner returns a constant."""

    size, any_size = SIZE, True

    def __init__(self, probability: float, refined: float | None = None, side: int = 64) -> None:
        self.probability = probability
        refine = Refine(size=(64, 96), patch=16, spacing=8, depth=1)
        self.refiner = None
        if refined is not None:
            self.refiner = Refiner(
                [_constant(refined)], refine.model_copy(update={"size": (side, 96)}), flip=True
            )

    def prepare(self, photo: str, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def predict(self, inputs: list[np.ndarray]) -> ProbabilityMaps:
        maps = np.zeros((len(inputs), 1, *SIZE), np.float32)
        maps[:, :, 10:20, 15:35] = self.probability
        return ProbabilityMaps(maps, np.zeros(len(inputs)))


def _constant(value: float) -> keras.Model:
    patch = keras.Input((None, None, 4))
    return keras.Model(patch, keras.layers.Lambda(lambda x: x[..., :1] * 0 + value)(patch))


def _ensemble(per_fold: bool = False) -> WeightedEnsemble:
    models = [build(_recipe(f"seed={seed}")) for seed in (1, 2)]
    return WeightedEnsemble(
        (FoldEnsemble(models, size_spec(_recipe()), SIZE, tta="flip", per_fold=per_fold),)
    )


def test_the_stream_predicts_what_arrays_give(rendered: Path) -> None:
    photos = photos_to_predict(rendered)
    ensemble = _ensemble(per_fold=True)
    predictions = list(predict_stream(ensemble, photos, lambda prediction: prediction))
    assert [prediction.sample for prediction in predictions] == photos
    models = ensemble.predictors[0].models
    for photo, prediction in list(zip(photos, predictions, strict=True))[::16]:
        assert prediction.photo_size == (64, 96)
        pixels = images.read_photo(photo.path, SIZE)
        for members, probabilities in zip((models, *([one] for one in models)), prediction.maps, strict=True):
            (expected,) = probability_maps(members, [pixels], size_spec=SizeSpec(4), tta="flip")
            assert np.allclose(probabilities, expected[0], atol=1e-5)


def test_photos_are_read_as_they_are_needed(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = photos_to_predict(rendered) * 50
    read = []
    real = images.read_photo_sizes
    monkeypatch.setattr(
        images, "read_photo_sizes", lambda path, sizes: read.append(path) or real(path, sizes)
    )
    results = predict_stream(_ensemble(), photos, lambda prediction: None)
    next(results)
    assert len(read) < 200 < len(photos)
    results.close()


def test_a_refined_map_has_the_photos_size_and_the_refiners_probabilities(rendered: Path) -> None:
    photos = photos_to_predict(rendered)[:20]
    ensemble = WeightedEnsemble((Fixed(0.9, refined=0.7),))
    predictions = list(predict_stream(ensemble, photos, lambda prediction: prediction))
    assert [prediction.sample for prediction in predictions] == photos
    for prediction in predictions:
        (refined,) = prediction.maps
        assert refined.shape == prediction.photo_size == (64, 96)
        assert prediction.coarse.shape == SIZE
        assert refined[21, 28] == pytest.approx(0.7)  # at the square's corner
        assert refined[32, 48] == pytest.approx(0.9)  # in its middle
        assert refined[2, 2] == 0


def test_members_without_refinement_count_with_their_own_maps(rendered: Path) -> None:
    ensemble = WeightedEnsemble((Fixed(0.9, refined=0.6), Fixed(0.8)), (0.75, 0.25))
    (prediction,) = predict_stream(ensemble, photos_to_predict(rendered)[:1], lambda one: one)
    (refined,) = prediction.maps
    assert refined[32, 48] == pytest.approx(0.75 * 0.9 + 0.25 * 0.8)
    assert refined[24, 48] == pytest.approx(0.75 * 0.6 + 0.25 * 0.8, abs=1e-6)  # within the square
    assert refined[16, 48] == pytest.approx(0.75 * 0.6, abs=1e-6)  # outside of it


def test_refiners_of_different_sizes_are_not_blended() -> None:
    with pytest.raises(UserError, match=r"refine\.size"):
        WeightedEnsemble((Fixed(0.9, refined=0.6), Fixed(0.9, refined=0.6, side=48)), (0.5, 0.5))


def test_photos_without_a_contour_are_not_refined(rendered: Path) -> None:
    ensemble = WeightedEnsemble((Fixed(0.3, refined=0.7),))
    (prediction,) = predict_stream(ensemble, photos_to_predict(rendered)[:1], lambda one: one)
    assert prediction.maps.max() == pytest.approx(0.3)


def test_batches_end_where_they_must(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble, batches = _ensemble(), []
    real = WeightedEnsemble.predict
    monkeypatch.setattr(
        WeightedEnsemble, "predict", lambda self, inputs: batches.append(len(inputs[0])) or real(self, inputs)
    )
    ends = {5, 22}
    list(predict_stream(ensemble, photos_to_predict(rendered), lambda _: None, batch_ends=ends.__contains__))
    assert batches == [5, 16, 1, 10]


@given(st.integers(20, 5000), st.integers(20, 5000))
def test_a_fitted_size_keeps_the_aspect_ratio(height: int, width: int) -> None:
    fitted = fit_size((height, width), (288, 432))
    assert fitted[0] * fitted[1] == pytest.approx(288 * 432, rel=0.06)
    assert fitted[0] / fitted[1] == pytest.approx(height / width, rel=0.06)


def test_the_competitions_photos_are_resized_to_the_recipes_size() -> None:
    assert fit_size((1280, 1918), (288, 432)) == (288, 432)
