"""What is kept of a predicted photo: its masks as run-length text, and what may tell that they went wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from carvana.competition import rle
from carvana.files import atomic_path
from carvana.inference.contours import run_edges
from carvana.inference.pipeline import Prediction
from carvana.inference.predictors import encode_map, map_path

_LOOKED_AT = (256, 384)
"""About the (height, width) at which a mask's pieces are counted: a larger map is thinned to that."""


class PredictionRecord(NamedTuple):
    """A photo's masks."""

    name: str
    height: int
    width: int
    """Of the photo, in pixels."""
    area: int
    """Pixels of the mask."""
    n_components: int
    """Contours of the mask: parts that do not touch."""
    second_area: int
    """About the pixels of the second largest of them."""
    disagreement: float
    """How far the networks disagree, as `ProbabilityMaps` has it."""
    masks: tuple[str, ...]
    """RunDir-length texts: that of the mean first, and of each network after it where asked for."""


def record_maker(threshold: float, maps_dir: Path | None) -> Callable[[Prediction], PredictionRecord]:
    """A function that makes rows of answers, and with `keep` writes each mean map into that folder."""

    def make(answer: Prediction) -> PredictionRecord:
        name, size = answer.sample.sample.name, answer.sample.photo_size
        edges = [run_edges(one, size, threshold) for one in answer.maps]
        if maps_dir is not None:
            with atomic_path(map_path(maps_dir, name)) as part:
                part.write_bytes(encode_map(answer.maps[0]))
        n_components, second_area = _components(answer.maps[0], size, threshold)
        area = int((edges[0][1::2] - edges[0][::2]).sum())
        masks = tuple(rle.edges_to_rle(one) for one in edges)
        return PredictionRecord(
            name, *size, area, n_components, second_area, round(float(answer.disagreement), 6), masks
        )

    return make


def _components(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> tuple[int, int]:
    """How many contours the mask has, and about the pixels within the second largest, in the photo's."""
    steps = [max(1, side // wanted) for side, wanted in zip(probabilities.shape, _LOOKED_AT, strict=True)]
    thinned = probabilities[:: steps[0], :: steps[1]] > threshold
    contours, _ = cv2.findContours(thinned.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) < 2:
        return len(contours), 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(
        thinned.view(np.uint8)
    )  # 20 times as slow, and seldom needed
    second_area = np.sort(stats[1:, cv2.CC_STAT_AREA])[-2]  # the first is what is no car
    return len(contours), round(float(second_area) * size[0] * size[1] / thinned.size)
