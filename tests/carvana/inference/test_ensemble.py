"""Several networks merged into one model."""

import numpy as np

from carvana.backend import keras
from carvana.inference.ensemble import disagreement, merge_models


def _shade(level: float) -> keras.Model:
    """A network whose map is a share of the photo's red channel."""
    photo = keras.Input((None, None, 3))
    return keras.Model(photo, keras.layers.Lambda(lambda photos: level * photos[..., :1] / 255)(photo))


def test_the_output_is_the_mean_and_each_networks_own_map() -> None:
    photos = np.random.default_rng(0).integers(256, size=(2, 8, 12, 3), dtype=np.uint8)
    output = merge_models([_shade(1.0), _shade(0.5)], flip=True, per_fold=True).predict_on_batch(photos)
    red = photos[..., 0] / 255
    assert np.allclose(output["maps"], np.stack([0.75 * red, red, 0.5 * red], axis=1))
    assert np.allclose(output["sums"], np.stack([0.25 * red, 0.75 * red], axis=-1).sum((1, 2)), rtol=1e-5)


def test_without_per_fold_only_the_mean_is_returned() -> None:
    photos = np.full((1, 8, 12, 3), 255, np.uint8)
    output = merge_models([_shade(1.0), _shade(0.5)], flip=False).predict_on_batch(photos)
    assert output["maps"].shape == (1, 1, 8, 12)
    assert np.allclose(output["maps"], 0.75)


def test_disagreement_is_relative_to_the_cars_area() -> None:
    sums = np.array([[10.0, 100.0], [0.0, 100.0], [0.5, 0.0]])  # the last photo shows no car
    assert disagreement(sums).tolist() == [0.1, 0.0, 0.5]
