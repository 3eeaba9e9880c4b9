"""Adam and AdamW of Keras, whose update of a weight TensorFlow computes as one operation."""

from typing import Any

from carvana.backend import keras


class _OneOperation:
    """Base that replaces the update of Keras's Adam, which passes over each weight a dozen times.

    The formula is the same. Backends that compile a whole step, as JAX does, merge these passes by themselves.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and the moving averages of its gradient; all arguments are tensors."""
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
            return
        import tensorflow

        optimizer: Any = self
        index = optimizer._get_variable_index(variable)
        steps = tensorflow.cast(optimizer.iterations + 1, variable.dtype)
        tensorflow.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            beta1_power=optimizer.beta_1**steps,
            beta2_power=optimizer.beta_2**steps,
            lr=tensorflow.cast(learning_rate, variable.dtype),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=tensorflow.cast(gradient, variable.dtype),
        )


class Adam(_OneOperation, keras.optimizers.Adam):
    """Adam, https://arxiv.org/abs/1412.6980."""


class AdamW(_OneOperation, keras.optimizers.AdamW):
    """Adam with decoupled weight decay, https://arxiv.org/abs/1711.05101."""
