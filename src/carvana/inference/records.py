"""Records of predicted photos: the masks as run-length text, and measures that point to wrong masks."""

from typing import NamedTuple

import cv2
import numpy as np

from carvana.competition import rle
from carvana.inference.pipeline import Prediction

_SUBSAMPLED_SIZE = (256, 384)
"""Approximate (height, width) at which the components of a mask are counted; larger maps are subsampled to it."""


class PredictionRecord(NamedTuple):
    """The masks of a photo and their measures."""

    name: str
    height: int
    width: int
    """The photo's width in pixels, as `height` is its height."""
    area: int
    """Area of the mask in pixels."""
    n_components: int
    """Number of the mask's outer contours, i.e. of parts that do not touch."""
    second_area: int
    """Approximate area of the second largest component in the photo's pixels; 0 if there is none."""
    disagreement: float
    """Disagreement of the networks, as in `ProbabilityMaps`."""
    masks: tuple[str, ...]
    """Run-length texts: that of the ensemble's mean, then each network's own if requested."""


def make_record(prediction: Prediction, threshold: float) -> PredictionRecord:
    """Make the record of a prediction; pixels whose probability is above the threshold are car."""
    edges = [prediction.edges(threshold, index) for index in range(len(prediction.maps))]
    n_components, second_area = _components(prediction.maps[0], prediction.photo_size, threshold)
    return PredictionRecord(
        prediction.sample.name,
        *prediction.photo_size,
        area=int((edges[0][1::2] - edges[0][::2]).sum()),
        n_components=n_components,
        second_area=second_area,
        disagreement=round(prediction.disagreement, 6),
        masks=tuple(rle.edges_to_rle(one) for one in edges),
    )


def _components(probabilities: np.ndarray, photo_size: tuple[int, int], threshold: float) -> tuple[int, int]:
    """Return the number of outer contours, and the second largest component's area in the photo's pixels."""
    steps = [
        max(1, side // wanted) for side, wanted in zip(probabilities.shape, _SUBSAMPLED_SIZE, strict=True)
    ]
    mask = (probabilities[:: steps[0], :: steps[1]] > threshold).view(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) < 2:
        return len(contours), 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)  # 20 times as slow as counting, and rarely needed
    second_area = np.sort(stats[1:, cv2.CC_STAT_AREA])[-2]  # component 0 is the background
    return len(contours), round(float(second_area) * photo_size[0] * photo_size[1] / mask.size)
