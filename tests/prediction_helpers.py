"""Shortcuts for tests that predict arrays rather than files."""

from collections.abc import Iterable, Sequence

import numpy as np

from carvana.backend import keras
from carvana.competition import rle
from carvana.data.padding import SizeSpec
from carvana.inference.contours import run_edges
from carvana.inference.predictors import FoldEnsemble


def probability_maps(
    models: Sequence[keras.Model], photos: Iterable[np.ndarray], *, size_spec: SizeSpec, tta: str = "none"
) -> np.ndarray:
    """Predict the mean maps (n, 1, height, width) of photos (height, width, 3) of one size."""
    batch = np.stack(list(photos))
    return FoldEnsemble(models, size_spec, batch.shape[1:3], tta=tta).predict(batch).maps


def mask_of(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Return the mask of a map at a photo's own (height, width), bool."""
    return rle.edges_to_mask(run_edges(probabilities, size, threshold), size)
