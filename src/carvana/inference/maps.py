"""From photos to probability maps, and from a map to a mask."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from carvana.backend import keras
from carvana.competition import rle
from carvana.data.padding import SizeSpec
from carvana.inference.contours import run_edges
from carvana.inference.ensemble import ModelEnsemble


def probability_maps(
    models: Sequence[keras.Model],
    photos: Iterable[np.ndarray],
    *,
    size_spec: SizeSpec,
    tta: str = "none",
    batch: int = 16,
) -> Iterator[np.ndarray]:
    """Ask networks for the mean of their probability maps of each photo.

    Args:
        models: one a fold.
        photos: of one size, (height, width, 3), uint8, 0..255; drawn a batch at a time.
        size_spec: what sizes the models eat; photos are padded and maps cut to it.
        tta: as `ModelEnsemble` has it.
        batch: photos that go through a model at once; fewer where they are large.

    Yields:
        For each photo (1, height, width), float32, 0..1.
    """
    networks = ModelEnsemble(models, size_spec, tta=tta)
    photos = iter(photos)
    while chunk := list(islice(photos, batch)):
        yield from networks.predict(np.stack(chunk)).maps


def mask_of(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """The mask at a photo's own size, bool: the map is upsampled first and thresholded last.

    Thresholding first would cost 0.0024 Dice at 288x432.

    Args:
        probabilities: (h, w), float32, 0..1.
        size: (height, width) of the photo.
        threshold: car is where the probability is above it.
    """
    return rle.edges_to_mask(run_edges(probabilities, size, threshold), size)
