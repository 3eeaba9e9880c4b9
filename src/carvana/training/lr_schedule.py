"""The learning rate of each training step."""

import math
from dataclasses import dataclass

from carvana.recipe import Recipe, Stage


@dataclass(frozen=True)
class LearningRateSchedule:
    """A recipe's schedule: the stage's learning rate times the cosine decay times the warm-up.

    The cosine (https://arxiv.org/abs/1608.03983) decays once over all stages, in proportion to the pixels trained on
    and not to the steps, so that equal computation spends an equal share of the decay at each resolution.
    """

    recipe: Recipe
    n_samples: int
    """Photos per epoch."""

    def learning_rate(self, stage: Stage, epoch: float, step: int) -> float:
        """Return the learning rate of one step.

        Args:
            stage: the stage that the step belongs to.
            epoch: epochs trained before the step, over all stages, including the fraction of the present one.
            step: steps done before it, over all stages.
        """
        learning_rate = stage.learning_rate
        if self.recipe.schedule == "cosine":
            learning_rate *= (1 + math.cos(math.pi * self._share_of_pixels(epoch))) / 2
        if step < self.recipe.warmup_steps:
            learning_rate *= (step + 1) / self.recipe.warmup_steps
        return learning_rate

    def steps_before(self, epoch: int) -> int:
        """Return the steps of the first `epoch` epochs, over all stages."""
        steps = 0
        for stage in self.recipe.stages:
            epochs = min(epoch, stage.epochs)
            steps += epochs * math.ceil(self.n_samples / stage.batch_size)
            epoch -= epochs
        return steps

    def _share_of_pixels(self, epoch: float) -> float:
        """Return the share, 0..1, of all pixels of the training that the first `epoch` epochs process."""
        pixels = 0.0
        for stage in self.recipe.stages:
            epochs = min(epoch, stage.epochs)
            pixels += epochs * math.prod(stage.size)
            epoch -= epochs
        return pixels / sum(stage.epochs * math.prod(stage.size) for stage in self.recipe.stages)
