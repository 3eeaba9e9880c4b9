"""The stream from photos to rows."""

from pathlib import Path

import numpy as np

from carvana.competition import rle
from carvana.data import images
from carvana.data.folder import test_photos as photos_to_predict
from carvana.data.padding import Frame
from carvana.models.build import build
from carvana.prediction import stream
from carvana.prediction.maps import mask_of, probability_maps
from carvana.recipe import Recipe, read_recipe


def _recipe(*changes: str) -> Recipe:
    stages = "stages=[{size=[30, 50], epochs=1, batch=1, rate=1e-3}]"
    return read_recipe("miniature", ["width=2", "depth=2", stages, *changes])


def _ensemble() -> stream.Ensemble:
    return stream.Ensemble([build(_recipe(f"seed={seed}")) for seed in (1, 2)], _recipe())


def test_rows_are_those_of_the_plain_way(rendered: Path) -> None:
    ensemble, photos = _ensemble(), photos_to_predict(rendered)
    rows = list(stream.rle_rows(ensemble, photos, each=True))
    assert [name for name, _ in rows] == [photo.name for photo in photos]
    for photo, (_, masks) in list(zip(photos, rows, strict=True))[::7]:
        pixels = images.read_photo(photo.path, (30, 50))
        (maps,) = probability_maps(ensemble.models, [pixels], frame=Frame(4), tta="flip")
        expected = [mask_of(one, (64, 96), 0.5) for one in (maps.mean(axis=0), *maps)]
        for mask, text in zip(expected, masks, strict=True):
            assert np.mean(mask != rle.decode(text, (64, 96))) < 0.01


def test_the_ensemble_alone_is_the_first_of_each(rendered: Path) -> None:
    ensemble, photos = _ensemble(), photos_to_predict(rendered)[:20]
    together = [masks for _, masks in stream.rle_rows(ensemble, photos)]
    assert together == [masks[:1] for _, masks in stream.rle_rows(ensemble, photos, each=True)]


def test_photos_are_read_as_they_are_needed(rendered: Path, monkeypatch) -> None:
    photos = photos_to_predict(rendered) * 50
    read = []
    real = images.read_photo
    monkeypatch.setattr(images, "read_photo", lambda path, size: read.append(path) or real(path, size))
    rows = stream.rle_rows(_ensemble(), photos)
    next(rows)
    assert len(read) < 200 < len(photos)
    rows.close()
