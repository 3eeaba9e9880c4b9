"""Whom the photos are shown to: networks, or maps that were kept; one of them, or several blended by weight."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from carvana.data import images
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.inference.ensemble import ModelEnsemble, ProbabilityMaps
from carvana.models import build
from carvana.recipe import Recipe
from carvana.runs import RunDir

MAP_LEVELS = 255
"""Of a kept map: it is an 8-bit PNG."""


class Predictor(Protocol):
    """One that has a probability map for each photo."""

    size: tuple[int, int] | None
    """(height, width) that it wants photos at; None where it looks at none."""

    any_size: bool
    """Whether it takes them at any other size as well."""

    def prepare(self, photo: str, pixels: np.ndarray | None) -> np.ndarray:
        """What it needs of a photo of this name, whose pixels (height, width, 3), uint8, are given."""

    def predict(self, seen: Sequence[np.ndarray]) -> ProbabilityMaps:
        """The maps of several photos, all seen at one size."""


class FoldEnsemble:
    """The networks of a recipe's folds, asked as the recipe says."""

    def __init__(self, networks: ModelEnsemble, size: tuple[int, int]) -> None:
        """Take networks that see photos at `size`."""
        self.networks, self.size, self.any_size = networks, size, networks.any_size

    @classmethod
    def load(cls, runs: Sequence[RunDir], recipe: Recipe, *, per_fold: bool = False) -> "FoldEnsemble":
        """Load the best weights of each run; with `each` also give each one's own map."""
        models = [build.load(run.model) for run in runs]
        return cls(
            ModelEnsemble(models, build.size_spec(recipe), tta=recipe.tta, per_fold=per_fold), recipe.size
        )

    def prepare(self, photo: str, pixels: np.ndarray) -> np.ndarray:
        """The pixels."""
        return pixels

    def predict(self, seen: Sequence[np.ndarray]) -> ProbabilityMaps:
        """The networks' maps."""
        return self.networks.predict(np.stack(seen))


class SavedMaps:
    """ProbabilityMaps that `--keep-maps` wrote."""

    size, any_size = None, False

    def __init__(self, folder: Path) -> None:
        """Take the maps in a folder."""
        self.folder = folder

    def prepare(self, photo: str, pixels: None) -> np.ndarray:
        """The map that was kept, (h, w), float32, 0..1.

        Raises:
            UserError: the photo has none.
        """
        path = map_path(self.folder, photo)
        levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
        if levels is None:
            raise UserError(f"{path}: no such map; `./run.sh predict --keep-maps` writes them")
        return levels.astype(np.float32) / MAP_LEVELS

    def predict(self, seen: Sequence[np.ndarray]) -> ProbabilityMaps:
        """The maps themselves."""
        return ProbabilityMaps(np.stack(seen)[:, None], np.zeros(len(seen)))


@dataclass(frozen=True)
class WeightedEnsemble:
    """Sources and their weights, which sum to 1."""

    sources: tuple[Predictor, ...]
    weights: tuple[float, ...] = (1.0,)

    def read(self, photo: Sample) -> tuple[list[np.ndarray], tuple[int, int]]:
        """What each source needs of a photo, and the photo's own (height, width)."""
        sizes = [source.size for source in self.sources if source.size]
        pixels, own = images.read_photo_sizes(photo.path, sizes)
        shown = iter(pixels)
        return [
            source.prepare(photo.name, next(shown) if source.size else None) for source in self.sources
        ], own

    def predict(self, seen: Sequence[Sequence[np.ndarray]]) -> list[ProbabilityMaps]:
        """What each source says of several photos, of which it needs what `read` gave."""
        return [source.predict(of_source) for source, of_source in zip(self.sources, seen, strict=True)]

    def combine(self, said: Sequence[ProbabilityMaps]) -> ProbabilityMaps:
        """The weighted mean of what each source says of a photo, its maps (maps, h, w) at the largest one's size."""
        if len(said) == 1:
            return said[0]
        largest = max((one.maps.shape[1:] for one in said), key=math.prod)
        maps = sum(
            np.float32(weight) * np.stack([images.resize(one, largest) for one in of_source.maps])
            for weight, of_source in zip(self.weights, said, strict=True)
        )
        return ProbabilityMaps(maps, np.dot(self.weights, [one.disagreement for one in said]))


def map_path(folder: Path, photo: str) -> Path:
    """Where the map of a photo of this name is kept."""
    return folder / f"{Path(photo).stem}.png"


def encode_map(probabilities: np.ndarray) -> bytes:
    """A map (h, w), 0..1, as an 8-bit PNG."""
    levels = np.rint(probabilities * MAP_LEVELS).astype(np.uint8)
    return cv2.imencode(".png", levels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
