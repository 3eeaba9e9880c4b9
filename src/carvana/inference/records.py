"""What is kept of a predicted photo: its masks as run-length text, and what may tell that they went wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from carvana.competition import rle
from carvana.files import atomic_path
from carvana.inference.contours import edges_at
from carvana.inference.pipeline import Answer
from carvana.inference.predictors import map_path, map_png

_LOOKED_AT = (256, 384)
"""About the (height, width) at which a mask's pieces are counted: a larger map is thinned to that."""


class Row(NamedTuple):
    """A photo's masks."""

    name: str
    height: int
    width: int
    """Of the photo, in pixels."""
    area: int
    """Pixels of the mask."""
    pieces: int
    """Contours of the mask: parts that do not touch."""
    second: int
    """About the pixels of the second largest of them."""
    spread: float
    """How far the networks disagree, as `Maps` has it."""
    masks: tuple[str, ...]
    """RunDir-length texts: that of the mean first, and of each network after it where asked for."""


def row_maker(threshold: float, keep: Path | None) -> Callable[[Answer], Row]:
    """A function that makes rows of answers, and with `keep` writes each mean map into that folder."""

    def make(answer: Answer) -> Row:
        name, size = answer.seen.photo.name, answer.seen.own_size
        edges = [edges_at(one, size, threshold) for one in answer.maps]
        if keep is not None:
            with atomic_path(map_path(keep, name)) as part:
                part.write_bytes(map_png(answer.maps[0]))
        pieces, second = _pieces(answer.maps[0], size, threshold)
        area = int((edges[0][1::2] - edges[0][::2]).sum())
        masks = tuple(rle.edges_to_rle(one) for one in edges)
        return Row(name, *size, area, pieces, second, round(float(answer.spread), 6), masks)

    return make


def _pieces(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> tuple[int, int]:
    """How many contours the mask has, and about the pixels within the second largest, in the photo's."""
    steps = [max(1, side // wanted) for side, wanted in zip(probabilities.shape, _LOOKED_AT, strict=True)]
    thinned = probabilities[:: steps[0], :: steps[1]] > threshold
    contours, _ = cv2.findContours(thinned.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) < 2:
        return len(contours), 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(
        thinned.view(np.uint8)
    )  # 20 times as slow, and seldom needed
    second = np.sort(stats[1:, cv2.CC_STAT_AREA])[-2]  # the first is what is no car
    return len(contours), round(float(second) * size[0] * size[1] / thinned.size)
