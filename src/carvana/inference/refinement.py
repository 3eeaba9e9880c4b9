"""Refinement networks, which predict patches along the contours of probability maps at full resolution.

Nearly all wrong pixels of a map that was predicted at a lower resolution lie within a few pixels of its contour, in
some 2% of the photo. Compare Boundary Patch Refinement, https://arxiv.org/abs/2104.05239. The functions that place,
cut and paste the patches are in `standalone.py`, which is exported beside the networks.
"""

from collections.abc import Sequence

import numpy as np

from carvana.backend import keras
from carvana.inference.ensemble import merge_models
from carvana.models.build import load
from carvana.recipe import Recipe, Refine
from carvana.runs import RunDir

_CHUNK = 64
"""Patches that go through a network at once; fewer are filled up, because each new shape costs a compilation."""


class Refiner:
    """The refinement networks of a recipe's folds, averaged over networks and mirror images."""

    def __init__(
        self, models: Sequence[keras.Model], config: Refine, *, flip: bool, per_fold: bool = False
    ) -> None:
        """Initialize the refiner.

        Args:
            models: one refinement network per fold.
            config: size of photos and patches, and the spacing of these.
            flip: average each network over a patch and its mirror image.
            per_fold: also allow the index of a single network in `predict`.
        """
        self.config = config
        groups = [models, *([model] for model in models)] if per_fold else [models]
        self._models = [merge_models(group, flip=flip) for group in groups]

    @classmethod
    def load(cls, runs: Sequence[RunDir], recipe: Recipe, *, per_fold: bool = False) -> "Refiner":
        """Load the refinement network of each run, to predict as the recipe says."""
        assert recipe.refine is not None
        models = [load(run.refiner) for run in runs]
        return cls(models, recipe.refine, flip=recipe.tta != "none", per_fold=per_fold)

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
            chunks.append(self._models[index].predict_on_batch(filled)["maps"][: len(chunk), 0])
        return np.concatenate(chunks) if chunks else np.empty(patches.shape[:3], np.float32)
