"""Shortcuts for tests that predict arrays rather than files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.backend import keras
from carvana.competition import rle
from carvana.data.padding import SizeSpec
from carvana.inference.contours import run_edges
from carvana.inference.ensemble import ProbabilityMaps
from carvana.inference.predictors import FoldEnsemble, map_path, save_map


class Red:
    """A predictor whose map is the photo's red channel, with a disagreement of 0.25."""

    size, any_size, refiner = (16, 24), True, None

    def prepare(self, photo: str, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def predict(self, inputs: list[np.ndarray]) -> ProbabilityMaps:
        maps = np.stack(inputs)[:, None, ..., 0].astype(np.float32) / 255
        return ProbabilityMaps(maps, np.full(len(inputs), 0.25))


def probability_maps(
    models: Sequence[keras.Model], photos: Iterable[np.ndarray], *, size_spec: SizeSpec, tta: str = "none"
) -> np.ndarray:
    """Predict the mean maps (n, 1, height, width) of photos (height, width, 3) of one size."""
    batch = np.stack(list(photos))
    return FoldEnsemble(models, size_spec, batch.shape[1:3], tta=tta).predict(batch).maps


def mask_of(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Return the mask of a map at a photo's own (height, width), bool."""
    return rle.edges_to_mask(run_edges(probabilities, size, threshold), size)


def write_maps(folder: Path, data: Path, photos: int) -> None:
    """Shorten a data folder's sample submission to a few photos, and save a map of each; no two are alike."""
    path = data / "sample_submission.csv"
    sample = pd.read_csv(path, dtype=str, keep_default_na=False).head(photos)
    sample.to_csv(path, index=False)
    for number, name in enumerate(sample["img"]):
        probabilities = np.zeros((32, 48), np.float32)
        probabilities[8:24, 10 + number : 30] = 1
        save_map(map_path(folder, name), probabilities)
