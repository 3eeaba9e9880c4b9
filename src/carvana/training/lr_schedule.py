"""The learning rate over a training."""

import math
from dataclasses import dataclass

from carvana.recipe import Recipe, Stage


@dataclass(frozen=True)
class LearningRateSchedule:
    """The learning rate of each step, https://arxiv.org/abs/1608.03983.

    A cosine falls once over all stages, and by the pixels seen, not by the steps: an hour of training spends the
    same share of the fall whatever the resolution.
    """

    recipe: Recipe
    photos: int
    """Photos an epoch."""

    def rate(self, stage: Stage, epochs_before: float, step: int) -> float:
        """The rate of a step.

        Args:
            stage: the current stage.
            epochs_before: epochs done over all stages, with the part of the current one.
            step: steps done over all stages.
        """
        rate = stage.learning_rate
        if self.recipe.schedule == "cosine":
            rate *= _fallen(self._share_of_pixels(epochs_before))
        if step < self.recipe.warmup_steps:
            rate *= (step + 1) / self.recipe.warmup_steps
        return rate

    def steps_before(self, epoch: int) -> int:
        """Steps done in the first `epoch` epochs, over all stages."""
        steps = 0
        for stage in self.recipe.stages:
            epochs = min(epoch, stage.epochs)
            steps += epochs * -(-self.photos // stage.batch_size)
            epoch -= epochs
        return steps

    def _share_of_pixels(self, epochs: float) -> float:
        seen = 0.0
        for stage in self.recipe.stages:
            here = min(epochs, stage.epochs)
            seen += here * stage.size[0] * stage.size[1]
            epochs -= here
        return seen / sum(stage.epochs * stage.size[0] * stage.size[1] for stage in self.recipe.stages)


def _fallen(share: float) -> float:
    """Of the rate, what is left after a share of the fall."""
    return (1 + math.cos(math.pi * share)) / 2
