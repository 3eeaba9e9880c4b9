"""Training of a recipe's refinement network on patches along the contours of the first network's maps."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from carvana import console
from carvana.backend import AllDevices, keras
from carvana.data import images
from carvana.data.batches import Batches
from carvana.data.dataset import Sample
from carvana.data.padding import SizeSpec
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import FoldEnsemble, WeightedEnsemble
from carvana.inference.refinement import Refiner
from carvana.inference.standalone import cut_patches, patch_corners
from carvana.models.build import build_from, load, size_spec
from carvana.models.refiner import CHANNELS, build_refiner, refiner_recipe
from carvana.recipe import Recipe, Refine, Stage
from carvana.runs import RunDir
from carvana.training.loggers import Logger
from carvana.training.trainer import Trainer
from carvana.training.validation import Validator


class RefinerTrainer(Trainer):
    """Training of the refinement network of one fold, after its first network.

    The weights after the last epoch are kept: the learning rate has then decayed to zero. The Dice of an epoch is
    that of one held-out photo of each car.
    """

    keeps_best = False
    unit = "patches"
    keys = "refine."

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        train: Sequence[Sample],
        validator: Validator | None,
        *,
        earlier: Sequence[dict[str, Any]],
        init: Path | None = None,
        loggers: Sequence[Logger] = (),
        devices: AllDevices | None = None,
        reporter: console.Reporter = console,
    ) -> None:
        """Initialize as `Trainer` does.

        Args:
            recipe: the recipe, with `refine`.
            run: where all files are written; the first network is there.
            train: photos to train on.
            validator: of all held-out photos; None if there are none.
            earlier: rows of the run's history of the first network.
            init: a saved refinement network whose weights training starts from; by default they are random.
            loggers: receive the figures of each epoch.
            devices: devices that share each batch; by default one device.
            reporter: receives messages and progress.
        """
        assert recipe.refine is not None
        self._refine, self._train, self._size = recipe.refine, train, recipe.size
        n_patches = len(train) * recipe.refine.patches_per_photo
        super().__init__(
            _with_short_warmup(refiner_recipe(recipe), n_patches),
            run,
            n_patches,
            run.refiner_checkpoint,
            run.refiner,
            partial(build_from, init, build_refiner) if init else build_refiner,
            earlier=earlier,
            loggers=loggers,
            devices=devices,
            reporter=reporter,
        )
        # All photos would take as long as half an epoch.
        self._validator = validator.one_per_car() if validator else None
        self._first = load(run.model)
        self._first_ensemble = FoldEnsemble([self._first], size_spec(recipe), recipe.size, tta=recipe.tta)
        self._patches: PatchSamples | None = None

    def _batches(self, stage: Stage) -> Batches:
        if self._patches is None:
            title = f"{self._run.label} cutting patches"
            with self._reporter.progress(title, len(self._train), "photos") as advance:
                self._patches = PatchSamples(self._train, self._refine, self._recipe.seed)
                for _ in self._patches.fill(WeightedEnsemble((self._first_ensemble,))):
                    advance(1)
        return _PatchBatches(
            self._patches, stage.batch_size, SizeSpec(), self._recipe.augmentation, self._recipe.seed
        )

    def _title(self, number: int, stage: Stage) -> str:
        return f"{self._run.label} refinement {stage.size[1]}x{stage.size[0]}"

    def _score(self, model: keras.Model, stage: Stage) -> tuple[float | None, list[np.ndarray]]:
        if self._validator is None:
            return None, []
        refiner = Refiner([model], self._refine, flip=False)
        return self._validator.mean_dice(self._first, self._size, refiner), []


class PatchSamples:
    """Patches of training photos, in memory: about 17 kB each with a side of 64 pixels."""

    def __init__(self, photos: Sequence[Sample], refine: Refine, seed: int) -> None:
        """Create room for the patches; `fill` cuts them.

        Args:
            photos: labelled photos.
            refine: size, spacing and number of the patches.
            seed: chooses the patches of a photo that has more than `refine.patches_per_photo`.
        """
        self._photos, self._refine, self._seed = photos, refine, seed
        side, count = refine.patch, len(photos) * refine.patches_per_photo
        self.size = (side, side)
        self._inputs = np.zeros((count, side, side, CHANNELS), np.uint8)
        self._masks = np.zeros((count, side, -(-side // 8)), np.uint8)

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self._inputs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a patch of a photo (p, p, 3), and its probability and mask (p, p, 2), both uint8, 0..255."""
        mask = np.unpackbits(self._masks[index], axis=1, count=self.size[1]) * np.uint8(255)
        inputs = self._inputs[index]
        return inputs[..., :3], np.dstack([inputs[..., 3], mask])

    @property
    def samples(self) -> list[Sample]:
        """The photo of each patch."""
        return [photo for photo in self._photos for _ in range(self._refine.patches_per_photo)]

    def fill(self, ensemble: WeightedEnsemble) -> Iterator[None]:
        """Predict the photos and cut their patches; yields after each photo.

        A photo with fewer patches than are wanted gives some of them twice. One without a contour gives patches at
        random places.
        """
        numbers = {photo.name: number for number, photo in enumerate(self._photos)}

        def cut(prediction: Prediction) -> None:
            self._cut(numbers[prediction.sample.name], prediction)

        yield from predict_stream(ensemble, self._photos, cut)

    def _cut(self, number: int, prediction: Prediction) -> None:
        refine, size = self._refine, self._refine.size
        rng = np.random.default_rng([self._seed, number])
        corners = patch_corners(prediction.maps[0], size, refine.patch, refine.spacing)
        if not len(corners):
            corners = rng.integers(0, np.array(size) - refine.patch + 1, (refine.patches_per_photo, 2))
        chosen = corners[np.resize(rng.permutation(len(corners)), refine.patches_per_photo)]
        first = number * refine.patches_per_photo
        rows = slice(first, first + refine.patches_per_photo)
        photo = images.read_photo(prediction.sample.path, size)
        self._inputs[rows] = cut_patches(photo, prediction.maps[0], chosen, refine.patch)
        mask = prediction.sample.read_mask()
        if mask.shape != size:
            mask = images.mask_coverage(mask, size) > 127
        self._masks[rows] = np.packbits(
            [mask[row : row + refine.patch, column : column + refine.patch] for row, column in chosen], axis=2
        )


class _PatchBatches(Batches):
    """Batches of patches, whose probability becomes the fourth channel of the network's input."""

    def epoch(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield inputs (n, patch, patch, 4), uint8, 0..255, and masks (n, patch, patch, 1), float32, 0..1."""
        for photos, probabilities_and_masks in super().epoch(number):
            levels = np.rint(probabilities_and_masks[..., 0, :] * 255).astype(np.uint8)
            yield np.concatenate([photos, levels], axis=-1), probabilities_and_masks[..., 1, :]


def _with_short_warmup(recipe: Recipe, n_patches: int) -> Recipe:
    """Limit the warm-up to a tenth of the training, because few photos make few steps."""
    (stage,) = recipe.stages
    steps = stage.epochs * n_patches // stage.batch_size
    return recipe.model_copy(update={"warmup_steps": min(recipe.warmup_steps, steps // 10)})
