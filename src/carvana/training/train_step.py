"""A network and all that moves its weights: optimiser, loss, accumulation, average."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np

from carvana.backend import AllDevices, keras
from carvana.models.build import build
from carvana.recipe import Recipe, Stage
from carvana.training.ema import ExponentialMovingAverage
from carvana.training.losses import make_loss


class TrainStep:
    """A recipe's network in training. `start_stage` a stage before its steps."""

    def __init__(self, recipe: Recipe, oom_halvings: int = 0, devices: AllDevices | None = None) -> None:
        """Build the network.

        Args:
            recipe: to train; with `freeze` the encoder is frozen until `unfreeze`.
            oom_halvings: how often a part of a batch was halved because it did not fit.
            devices: to share each batch among; by default one.
        """
        self.frozen = recipe.freeze_encoder_epochs > 0
        self._recipe = recipe
        self._halvings = oom_halvings
        self._parts = 1
        self._shared = devices is not None
        self._sharing = devices.scope if devices else nullcontext
        with self._sharing():
            self.model = build(recipe)
            self._optimizer = self._new_optimizer()
        self._ema = ExponentialMovingAverage(self.model, recipe.ema_decay) if recipe.ema_decay else None

    def start_stage(self, stage: Stage) -> None:
        """Train at a stage from now on."""
        updates = int(keras.ops.convert_to_numpy(self._plain_optimizer.iterations))
        self._parts = self.n_microbatches(stage)
        if self._accumulates:
            self._plain_optimizer.gradient_accumulation_steps = self._parts
            self._plain_optimizer._iterations.assign(
                updates * self._parts
            )  # it counts parts, and tells updates
        # JAX has no other way; TensorFlow's own CPU kernels are faster for all but wide networks (RESULTS.md).
        compiled_by_xla = keras.backend.backend() == "jax"
        height = stage.size[0]
        with self._sharing():
            self.model.compile(self._optimizer, make_loss(self._recipe, height), jit_compile=compiled_by_xla)

    def unfreeze(self) -> None:
        """Train the encoder too from now on, by an optimiser that starts anew."""
        for layer in self.model._flatten_layers():
            layer.trainable = True
        self.frozen = False
        with self._sharing():
            self._optimizer = self._new_optimizer()

    def n_microbatches(self, stage: Stage) -> int:
        """Parts that a batch of a stage goes through the network in."""
        return math.gcd(stage.batch_size, stage.accumulate << self._halvings)

    def step(self, photos: np.ndarray, masks: np.ndarray, rate: float) -> float:
        """Move the weights once.

        Args:
            photos: (n, height, width, 3), 0..255; n is the stage's batch.
            masks: (n, height, width, 1), float32, 0..1.
            rate: the learning rate.

        Returns:
            The batch's loss.
        """
        self._optimizer.learning_rate = rate
        losses = []
        for part in zip(np.split(photos, self._parts), np.split(masks, self._parts), strict=True):
            self.model.reset_metrics()
            with self._sharing():
                losses.append(float(self.model.train_on_batch(*part)))
        if self._ema:
            self._ema.update()
        return sum(losses) / len(losses)

    @contextmanager
    def ema_weights(self) -> Iterator[keras.Model]:
        """The network as it is evaluated and kept: with averaged weights, where the recipe wants them."""
        with self._ema.applied() if self._ema else nullcontext():
            yield self._alone() if self._shared else self.model

    def state(self) -> list[np.ndarray]:
        """Weights, optimiser state, random state and average, to be given to `load`."""
        average = self._ema.state() if self._ema else []
        return [*(keras.ops.convert_to_numpy(variable) for variable in self._variables()), *average]

    def load(self, state: Sequence[np.ndarray]) -> None:
        """Be what another of the same recipe was when it gave its state.

        Raises:
            ValueError: it was of another network.
        """
        variables = self._variables()
        if [array.shape for array in state[: len(variables)]] != [one.shape for one in variables]:
            raise ValueError("it is of another network")
        for variable, value in zip(variables, state, strict=False):
            variable.assign(value)
        if self._ema:
            self._ema.load(state[len(variables) :])

    def _alone(self) -> keras.Model:
        """A copy that answers on one device: a shared one would answer once on each."""
        copy = type(self.model).from_config(self.model.get_config())
        copy.set_weights(self.model.get_weights())
        return copy

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self._optimizer.variables]

    def _new_optimizer(self) -> keras.Optimizer:
        recipe = self._recipe
        options = {
            "learning_rate": recipe.stages[0].learning_rate,
            "global_clipnorm": recipe.clip_norm,
            "gradient_accumulation_steps": 2 if self._accumulates else None,
        }
        if recipe.optimizer == "adam":
            optimizer = keras.optimizers.Adam(**options)
        else:
            optimizer = keras.optimizers.AdamW(weight_decay=recipe.weight_decay, **options)
        if recipe.precision == "mixed_float16":  # whose gradients would vanish below 6e-8
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self.model.trainable_variables)
        return optimizer

    @property
    def _accumulates(self) -> bool:
        return any(self.n_microbatches(stage) > 1 for stage in self._recipe.stages)

    @property
    def _plain_optimizer(self) -> keras.Optimizer:
        return getattr(self._optimizer, "inner_optimizer", self._optimizer)
