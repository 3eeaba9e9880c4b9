"""The stream from photos to answers."""

from pathlib import Path

import numpy as np

from carvana.data import images
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.data.padding import SizeSpec
from carvana.data.timing import PipelineTimer
from carvana.inference.ensemble import ModelEnsemble
from carvana.inference.maps import probability_maps
from carvana.inference.pipeline import predict_stream
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.models.build import build, size_spec
from carvana.recipe import Recipe, read_recipe

SIZE = (30, 50)


def _recipe(*changes: str) -> Recipe:
    stages = "stages=[{size=[30, 50], epochs=1, batch_size=1, learning_rate=1e-3}]"
    return read_recipe("miniature", ["base_filters=2", "depth=2", "precision=float32", stages, *changes])


def _blend(per_fold: bool = False) -> WeightedEnsemble:
    models = [build(_recipe(f"seed={seed}")) for seed in (1, 2)]
    return WeightedEnsemble(
        (FoldEnsemble(ModelEnsemble(models, size_spec(_recipe()), tta="flip", per_fold=per_fold), SIZE),)
    )


def test_answers_are_those_of_the_plain_way(rendered: Path) -> None:
    photos = photos_to_predict(rendered)
    blend = _blend(per_fold=True)
    found = list(predict_stream(blend, photos, lambda answer: answer, stages=PipelineTimer()))
    assert [answer.sample.sample for answer in found] == photos
    models = blend.sources[0].networks._network.layers[1].models
    for photo, answer in list(zip(photos, found, strict=True))[::16]:
        assert answer.sample.photo_size == (64, 96)
        pixels = images.read_photo(photo.path, SIZE)
        for models_of, own in zip((models, *([one] for one in models)), answer.maps, strict=True):
            (expected,) = probability_maps(models_of, [pixels], size_spec=SizeSpec(4), tta="flip")
            assert np.allclose(own, expected[0], atol=1e-5)


def test_photos_are_read_as_they_are_needed(rendered: Path, monkeypatch) -> None:
    photos = photos_to_predict(rendered) * 50
    read = []
    real = images.read_photo_sizes
    monkeypatch.setattr(
        images, "read_photo_sizes", lambda path, sizes: read.append(path) or real(path, sizes)
    )
    found = predict_stream(_blend(), photos, lambda answer: None, stages=PipelineTimer())
    next(found)
    assert len(read) < 200 < len(photos)
    found.close()


def test_a_batch_ends_where_it_must(rendered: Path, monkeypatch) -> None:
    blend, batches = _blend(), []
    real = WeightedEnsemble.predict
    monkeypatch.setattr(
        WeightedEnsemble, "predict", lambda self, seen: batches.append(len(seen[0])) or real(self, seen)
    )
    list(
        predict_stream(
            blend,
            photos_to_predict(rendered),
            lambda answer: None,
            stages=PipelineTimer(),
            batch_ends={5, 22}.__contains__,
        )
    )
    assert batches == [5, 16, 1, 10]
