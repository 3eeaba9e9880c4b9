"""Predictors of probability maps: networks of a recipe's folds, saved maps, and weighted ensembles of these."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from carvana.data import images
from carvana.data.padding import SizeSpec, crop, pad
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.inference.config import KERAS, EngineConfig, EnsembleMember, PredictionConfig
from carvana.inference.engines import MAX_PIXELS, EngineFactory, KerasEngine, load_networks
from carvana.inference.ensemble import ProbabilityMaps, disagreement
from carvana.inference.refinement import Refiner
from carvana.inference.standalone import resize_map
from carvana.inference.tiles import predict_tiled
from carvana.models import build
from carvana.recipe import Recipe, Refine
from carvana.runs import RunDir

SCALES = {"scales": (1.0, 0.9, 1.1)}
"""Scales of the photo that are averaged, by `tta`; the other modes use scale 1 only."""

_PNG_LEVELS = 255
"""Highest level of a saved map, which is an 8-bit PNG."""

_WRITTEN_BY = "a prediction with --keep-maps writes them"

_PNG_COMPRESSION = [cv2.IMWRITE_PNG_COMPRESSION, 3]


class Predictor(Protocol):
    """A source of probability maps."""

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that photos are resized to; None if the pixels are not needed."""

    @property
    def any_size(self) -> bool:
        """True if photos of any other size are accepted, too."""

    @property
    def refiner(self) -> Refiner | None:
        """Refinement networks for the contours of the maps, if there are any."""

    def prepare(self, photo: str, pixels: np.ndarray | None) -> np.ndarray:
        """Return the input of `predict` for one photo; called in threads, while others are predicted.

        Args:
            photo: the photo's file name.
            pixels: (height, width, 3), uint8, RGB, at `size`; None if `size` is None.
        """

    def predict(self, inputs: Sequence[np.ndarray]) -> ProbabilityMaps:
        """Return the maps of several photos, whose prepared inputs have the same shape."""


class FoldEnsemble:
    """The networks of a recipe's folds, averaged over networks and test-time augmentations."""

    def __init__(
        self,
        models: Sequence[Any],
        size_spec: SizeSpec,
        size: tuple[int, int],
        *,
        tta: str = "none",
        per_fold: bool = False,
        refiner: Refiner | None = None,
        engine: EngineFactory = KerasEngine,
    ) -> None:
        """Initialize the ensemble.

        Args:
            models: one network per fold.
            size_spec: input sizes that the networks accept; photos are padded to it and maps cropped again.
            size: (height, width) that photos are resized to.
            tta: `none`; `flip`, the mean over a photo and its mirror image; `scales`, that mean at three sizes.
            per_fold: also return each network's own map.
            refiner: the folds' refinement networks.
            engine: computes the networks, which are of its library.
        """
        self.models, self.size, self.refiner = list(models), size, refiner
        self._size_spec = size_spec
        self._scales = SCALES.get(tta, (1.0,))
        self._engine = engine(self.models, flip=tta != "none", per_fold=per_fold)

    @classmethod
    def load(
        cls, runs: Sequence[RunDir], recipe: Recipe, *, per_fold: bool = False, engine: EngineConfig = KERAS
    ) -> "FoldEnsemble":
        """Load the best weights of each run, to predict as the recipe says."""
        networks, factory = load_networks([run.model for run in runs], recipe, build.build, engine)
        refiner = None
        if recipe.refine:
            refiner = Refiner.load(runs, recipe, per_fold=per_fold, engine=engine)
        return cls(
            networks,
            build.size_spec(recipe),
            recipe.size,
            tta=recipe.tta,
            per_fold=per_fold,
            refiner=refiner,
            engine=factory,
        )

    @property
    def any_size(self) -> bool:
        """True if the networks accept photos of any size."""
        return self._engine.any_size

    def prepare(self, photo: str, pixels: np.ndarray | None) -> np.ndarray:
        """Return the pixels unchanged."""
        assert pixels is not None
        return pixels

    def predict(self, inputs: Sequence[np.ndarray]) -> ProbabilityMaps:
        """Predict photos (n, height, width, 3), uint8, 0..255, RGB."""
        photos = np.stack(inputs)
        size = photos.shape[1:3]
        predictions = [self._predict_at(photos, _scaled(size, scale)) for scale in self._scales]
        if len(predictions) == 1:
            return predictions[0]
        # The last digits depend on the order of summation, which is that of the scales.
        total = predictions[0].maps
        for maps, _ in predictions[1:]:
            total += np.stack([[images.resize(one, size) for one in of_photo] for of_photo in maps])
        mean_disagreement = np.mean([one.disagreement for one in predictions], axis=0)
        return ProbabilityMaps(total / len(predictions), mean_disagreement)

    def _predict_at(self, photos: np.ndarray, size: tuple[int, int]) -> ProbabilityMaps:
        """Resize photos to (height, width), predict them, and return their maps at that size."""
        input_size = self._size_spec.input_size(size)
        padded = np.stack([pad(images.resize(photo, size), input_size) for photo in photos])
        total = np.zeros((len(photos), 2))

        def predict(tiles: np.ndarray) -> np.ndarray:
            maps, sums = self._predict_in_chunks(tiles)
            total[:] += sums
            return maps

        # Networks without a margin are not tiled: at their edges, tiles would differ from the whole photo.
        maps = predict_tiled(predict, padded, self._size_spec) if self._size_spec.margin else predict(padded)
        cropped = np.stack([[crop(one, size) for one in of_photo] for of_photo in maps])
        return ProbabilityMaps(cropped, disagreement(total))

    def _predict_in_chunks(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return maps (n, maps, height, width) and sums (n, 2) as `merge_models` does."""
        chunk = max(1, MAX_PIXELS // (photos.shape[1] * photos.shape[2]))
        outputs = [
            self._engine.predict(photos[first : first + chunk]) for first in range(0, len(photos), chunk)
        ]
        maps, sums = zip(*outputs, strict=True)
        return np.concatenate(maps), np.concatenate(sums)


class SavedMaps:
    """Probability maps that `predict --keep-maps` wrote into a folder."""

    size = None
    any_size = False
    refiner = None

    def __init__(self, folder: Path) -> None:
        """Initialize with the folder of NAME.png files.

        Raises:
            UserError: the folder holds no maps, or the first one is not a saved map.
        """
        self.folder = folder
        self._first = min(folder.glob("[!.]*.png"), default=None)
        if self._first is None:
            raise UserError(f"{folder}: holds no saved maps (*.png); {_WRITTEN_BY}")
        self._size = images.read_levels(self._first).shape

    def prepare(self, photo: str, pixels: np.ndarray | None) -> np.ndarray:
        """Read the saved map of a photo: (h, w), float32, 0..1.

        Raises:
            UserError: the photo has no map, or it is damaged, or of another size than the folder's other maps.
        """
        path = map_path(self.folder, photo)
        if not path.is_file():
            raise UserError(f"{path}: no such map; {_WRITTEN_BY}")
        levels = images.read_levels(path)
        if levels.shape != self._size:
            sizes = [f"{width}x{height}" for height, width in (levels.shape, self._size)]
            raise UserError(f"{path}: is {sizes[0]}, but {self._first} is {sizes[1]}; {_WRITTEN_BY}")
        return levels.astype(np.float32) / _PNG_LEVELS

    def predict(self, inputs: Sequence[np.ndarray]) -> ProbabilityMaps:
        """Return the maps that were read."""
        return ProbabilityMaps(np.stack(inputs)[:, None], np.zeros(len(inputs)))


@dataclass(frozen=True)
class WeightedEnsemble:
    """Predictors whose maps are averaged with weights, which sum to 1."""

    predictors: tuple[Predictor, ...]
    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Check that all refiners work on the same patches."""
        if len({(refiner.config.size, refiner.config.patch) for _, refiner in self._refiners}) > 1:
            raise UserError(
                "recipes whose refine.size or refine.patch differ cannot be blended; predict each with --keep-maps"
                " and blend the folders of their maps"
            )

    @property
    def refine(self) -> Refine | None:
        """Size and patch of the predictors that refine, and the smallest of their spacings; None if none refines."""
        configs = [refiner.config for _, refiner in self._refiners]
        return min(configs, key=lambda config: config.spacing, default=None)

    @property
    def _refiners(self) -> list[tuple[float, Refiner]]:
        """Weight and refiner of each predictor that refines."""
        weighted = zip(self.weights, self.predictors, strict=bool(self.predictors))
        return [(weight, one.refiner) for weight, one in weighted if one.refiner]

    @classmethod
    def load(cls, config: PredictionConfig) -> "WeightedEnsemble":
        """Load the networks of a configuration.

        Raises:
            UserError: the weights of a run are missing or incomplete.
        """
        predictors = tuple(_load_member(member, config) for member in config.members)
        total = sum(member.weight for member in config.members)
        return cls(predictors, tuple(member.weight / total for member in config.members))

    def predict(self, inputs: Sequence[Sequence[np.ndarray]]) -> list[ProbabilityMaps]:
        """Return each predictor's maps of a batch, given each predictor's prepared inputs."""
        return [
            predictor.predict(own_inputs)
            for predictor, own_inputs in zip(self.predictors, inputs, strict=True)
        ]

    def combine(self, predictions: Sequence[ProbabilityMaps]) -> ProbabilityMaps:
        """Average the predictors' maps (maps, h, w) of one photo, at the size of the largest."""
        if len(predictions) == 1:
            return predictions[0]
        largest = max((one.maps.shape[1:] for one in predictions), key=math.prod)
        weighted = [
            np.float32(weight) * np.stack([images.resize(one, largest) for one in prediction.maps])
            for weight, prediction in zip(self.weights, predictions, strict=True)
        ]
        mean_disagreement = np.dot(self.weights, [one.disagreement for one in predictions])
        return ProbabilityMaps(np.sum(weighted, axis=0), mean_disagreement)

    def refine_patches(self, patches: np.ndarray, index: int) -> np.ndarray:
        """Predict patches (n, patch, patch, 4), as `Refiner.predict` does, by all predictors that refine.

        Returns:
            (n, patch, patch), float32: the weighted sum of the refiners, whose weights sum to less than 1 if some
            predictors do not refine; see `unrefined`.
        """
        return np.sum([weight * one.predict(patches, index) for weight, one in self._refiners], axis=0)

    def unrefined(self, predictions: Sequence[ProbabilityMaps], size: tuple[int, int]) -> np.ndarray | None:
        """Return the weighted sum of the maps of one photo by the predictors that do not refine, or None.

        Args:
            predictions: each predictor's maps (1, h, w).
            size: (height, width) of the result, which is float32.
        """
        maps = [
            np.float32(weight) * resize_map(one.maps[0], size)
            for weight, predictor, one in zip(self.weights, self.predictors, predictions, strict=True)
            if predictor.refiner is None
        ]
        return np.sum(maps, axis=0) if maps else None


def map_path(folder: Path, photo: str) -> Path:
    """Return the file of a photo's saved map."""
    return folder / f"{Path(photo).stem}.png"


def save_map(path: Path, probabilities: np.ndarray) -> None:
    """Write a map (h, w), 0..1, as `encode_map` returns it; the file is complete or absent."""
    with atomic_path(path) as part:
        part.write_bytes(encode_map(probabilities))


def encode_map(probabilities: np.ndarray) -> bytes:
    """Encode a map (h, w), 0..1, as an 8-bit grey PNG."""
    levels = np.rint(probabilities * _PNG_LEVELS).astype(np.uint8)
    return cv2.imencode(".png", levels, _PNG_COMPRESSION)[1].tobytes()


def _load_member(member: EnsembleMember, config: PredictionConfig) -> Predictor:
    if member.recipe is None:
        assert member.maps is not None
        return SavedMaps(member.maps)
    return FoldEnsemble.load(member.runs, member.recipe, per_fold=config.per_fold, engine=config.engine)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return round(size[0] * scale), round(size[1] * scale)
