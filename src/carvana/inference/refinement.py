"""Refinement networks, which predict patches along the contours of probability maps at full resolution.

Nearly all wrong pixels of a map that was predicted at a lower resolution lie within a few pixels of its contour, in
some 2% of the photo. Compare Boundary Patch Refinement, https://arxiv.org/abs/2104.05239. The functions that place,
cut and paste the patches are in `standalone.py`, which is exported beside the networks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from carvana.inference.config import KERAS, EngineConfig
from carvana.inference.engines import EngineFactory, KerasEngine, load_networks
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, Refine
from carvana.runs import RunDir

_CHUNK = 64
"""Patches that go through a network at once; fewer are filled up, because each new shape costs a compilation."""


class Refiner:
    """The refinement networks of a recipe's folds, averaged over networks and mirror images."""

    def __init__(
        self,
        models: Sequence[Any],
        config: Refine,
        *,
        flip: bool,
        per_fold: bool = False,
        engine: EngineFactory = KerasEngine,
    ) -> None:
        """Initialize the refiner.

        Args:
            models: one refinement network per fold.
            config: size of photos and patches, and the spacing of these.
            flip: average each network over a patch and its mirror image.
            per_fold: also allow the index of a single network in `predict`.
            engine: computes the networks, which are of its library.
        """
        self.config = config
        groups = [models, *([model] for model in models)] if per_fold else [models]
        self._engines = [engine(group, flip=flip) for group in groups]

    @classmethod
    def load(
        cls, runs: Sequence[RunDir], recipe: Recipe, *, per_fold: bool = False, engine: EngineConfig = KERAS
    ) -> "Refiner":
        """Load the refinement network of each run, to predict as the recipe says."""
        assert recipe.refine is not None
        paths = [run.refiner for run in runs]
        networks, factory = load_networks(paths, refiner_recipe(recipe), build_refiner, engine)
        return cls(networks, recipe.refine, flip=recipe.tta != "none", per_fold=per_fold, engine=factory)

    def predict(self, patches: np.ndarray, index: int = 0) -> np.ndarray:
        """Predict patches.

        Args:
            patches: (n, patch, patch, 4), uint8, as `cut_patches` returns them.
            index: 0 for the mean over networks; with `per_fold`, k for the k-th network alone.

        Returns:
            (n, patch, patch), float32, 0..1.
        """
        chunks = []
        for first in range(0, len(patches), _CHUNK):
            chunk = patches[first : first + _CHUNK]
            filled = np.zeros((_CHUNK, *patches.shape[1:]), np.uint8)
            filled[: len(chunk)] = chunk
            maps, _ = self._engines[index].predict(filled)
            chunks.append(maps[: len(chunk), 0])
        return np.concatenate(chunks) if chunks else np.empty(patches.shape[:3], np.float32)
