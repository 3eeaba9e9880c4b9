"""One training step: network, optimizer, loss, gradient accumulation and EMA."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np

from carvana.backend import AllDevices, keras
from carvana.models.build import build
from carvana.recipe import Recipe, Stage
from carvana.training.ema import ExponentialMovingAverage
from carvana.training.losses import make_loss
from carvana.training.optimizers import adam, adamw


class TrainStep:
    """A recipe's network and what updates its weights. Call `start_stage` before the first step of each stage."""

    def __init__(
        self,
        recipe: Recipe,
        oom_halvings: int = 0,
        devices: AllDevices | None = None,
        build: Callable[[Recipe], keras.Model] = build,
    ) -> None:
        """Build the network and its optimizer.

        Args:
            recipe: the recipe to train; with `freeze_encoder_epochs` the encoder is frozen until `unfreeze_encoder`.
            oom_halvings: times that the micro-batch was halved because it did not fit the device's memory.
            devices: devices that share each batch; by default one device.
            build: builds the network.

        Raises:
            UserError: there is no such encoder, or its weights cannot be loaded.
        """
        self.frozen = recipe.freeze_encoder_epochs > 0
        self._recipe = recipe
        self._oom_halvings = oom_halvings
        self._n_microbatches = 1
        self._distributed = devices is not None
        self._scope = devices.scope if devices else nullcontext
        with self._scope():
            self.model = build(recipe)
            self._optimizer = self._make_optimizer()
        self._ema = ExponentialMovingAverage(self.model, recipe.ema_decay) if recipe.ema_decay else None

    def start_stage(self, stage: Stage) -> None:
        """Compile the model for the steps of a stage."""
        self._set_n_microbatches(self.n_microbatches(stage))
        # JAX needs XLA. TensorFlow's own CPU kernels are faster than XLA's, except for wide networks (RESULTS.md).
        jit_compile = keras.backend.backend() == "jax"
        loss = make_loss(self._recipe, height=stage.size[0])
        with self._scope():
            self.model.compile(self._optimizer, loss, jit_compile=jit_compile)

    def unfreeze_encoder(self) -> None:
        """Make all layers trainable, with a new optimizer; `start_stage` must be called before the next step."""
        # `model.layers` lacks the layers of nested models, such as the encoder.
        for layer in self.model._flatten_layers():
            layer.trainable = True
        self.frozen = False
        with self._scope():
            self._optimizer = self._make_optimizer()

    def n_microbatches(self, stage: Stage) -> int:
        """Return the number of micro-batches that a batch of a stage is split into."""
        return math.gcd(stage.batch_size, stage.accumulation_steps << self._oom_halvings)

    def step(self, photos: np.ndarray, masks: np.ndarray, learning_rate: float) -> float:
        """Update the weights once.

        Args:
            photos: (n, height, width, 3), 0..255; n is the stage's batch size.
            masks: (n, height, width, 1), float32, 0..1.
            learning_rate: of this step.

        Returns:
            The mean loss of the batch.
        """
        self._optimizer.learning_rate = learning_rate
        losses = []
        microbatches = np.split(photos, self._n_microbatches), np.split(masks, self._n_microbatches)
        for microbatch in zip(*microbatches, strict=True):
            self.model.reset_metrics()  # or Keras would return the mean loss of all steps so far
            with self._scope():
                losses.append(float(self.model.train_on_batch(*microbatch)))
        if self._ema:
            self._ema.update()
        return sum(losses) / len(losses)

    @contextmanager
    def ema_weights(self) -> Iterator[keras.Model]:
        """Give the model to validate and save: with averaged weights if the recipe has `ema_decay`."""
        with self._ema.applied() if self._ema else nullcontext():
            yield self._copy_to_one_device() if self._distributed else self.model

    @contextmanager
    def with_weights(self, weights: Sequence[np.ndarray]) -> Iterator[keras.Model]:
        """Give the model with other weights, of an earlier `model.get_weights()`, within the block.

        Raises:
            ValueError: the weights belong to another network.
        """
        current = self.model.get_weights()
        try:
            self.model.set_weights(list(weights))
            yield self._copy_to_one_device() if self._distributed else self.model
        finally:
            self.model.set_weights(current)

    def state(self) -> list[np.ndarray]:
        """Return the number of updates, the variables of model and optimizer, and the EMA, for `load`.

        The state is that between two steps, and does not depend on the number of micro-batches.
        """
        variables = [keras.ops.convert_to_numpy(variable) for variable in self._variables()]
        return [np.array(self._updates), *variables, *(self._ema.state() if self._ema else [])]

    def load(self, state: Sequence[np.ndarray]) -> None:
        """Restore what `state` returned for the same recipe.

        Raises:
            ValueError: the state belongs to another network.
        """
        variables = self._variables()
        updates, values, ema = state[0], state[1 : len(variables) + 1], state[len(variables) + 1 :]
        if [value.shape for value in values] != [variable.shape for variable in variables]:
            raise ValueError("it belongs to another network")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self._set_updates(int(updates))
        if self._ema:
            self._ema.load(ema)

    def _set_n_microbatches(self, count: int) -> None:
        self._n_microbatches = count
        if self._accumulates:
            updates = self._updates
            self._base_optimizer.gradient_accumulation_steps = count
            self._set_updates(updates)

    @property
    def _updates(self) -> int:
        """Number of updates of the weights, which Adam's bias correction depends on."""
        return int(keras.ops.convert_to_numpy(self._base_optimizer.iterations))

    def _set_updates(self, updates: int) -> None:
        self._iteration.assign(updates * (self._base_optimizer.gradient_accumulation_steps or 1))

    def _copy_to_one_device(self) -> keras.Model:
        """Copy the model; a distributed one would return each prediction once per device."""
        copy = type(self.model).from_config(self.model.get_config())
        copy.set_weights(self.model.get_weights())
        return copy

    def _variables(self) -> list[keras.Variable]:
        """Variables that hold the state between steps, in which the sums of gradients are zero."""
        iteration = self._iteration
        of_optimizer = [
            variable
            for variable in self._optimizer.variables
            if variable is not iteration and not variable.name.endswith("gradient_accumulator")
        ]
        return [*self.model.variables, *of_optimizer]

    @property
    def _base_optimizer(self) -> keras.Optimizer:
        """The optimizer without the loss scaling of `mixed_float16`."""
        return getattr(self._optimizer, "inner_optimizer", self._optimizer)

    @property
    def _iteration(self) -> keras.Variable:
        """The optimizer's counter of micro-batches; `optimizer.iterations` is derived from it."""
        return next(variable for variable in self._base_optimizer.variables if variable.name == "iteration")

    def _make_optimizer(self) -> keras.Optimizer:
        recipe = self._recipe
        options = {
            "learning_rate": recipe.stages[0].learning_rate,
            "global_clipnorm": recipe.clip_norm,
            # The real number is set at each stage; here it decides whether Keras makes room for the gradients' sum.
            "gradient_accumulation_steps": 2 if self._accumulates else None,
        }
        if recipe.optimizer == "adam":
            optimizer = adam(**options)
        else:
            optimizer = adamw(weight_decay=recipe.weight_decay, **options)
        if recipe.precision == "mixed_float16":  # gradients below 6e-8 would become 0
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self.model.trainable_variables)
        return optimizer

    @property
    def _accumulates(self) -> bool:
        return any(self.n_microbatches(stage) > 1 for stage in self._recipe.stages)
