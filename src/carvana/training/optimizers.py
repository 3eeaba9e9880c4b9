"""Adam and AdamW of Keras, whose update of a variable TensorFlow computes as one operation."""

from typing import Any

from carvana.backend import keras


class _OneOperation:
    """Mixin, placed before Keras's Adam, that computes its update as one operation of TensorFlow.

    The formula is the same; Keras's own update passes over a variable a dozen times.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and the moving averages of its gradient."""
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


class FusedAdam(_OneOperation, keras.optimizers.Adam):
    """Adam on TensorFlow."""


class FusedAdamW(_OneOperation, keras.optimizers.AdamW):
    """AdamW on TensorFlow."""


def adam(**options: Any) -> keras.Optimizer:
    """Create Adam, https://arxiv.org/abs/1412.6980, with options of `keras.optimizers.Adam`."""
    return (FusedAdam if _is_tensorflow() else keras.optimizers.Adam)(**options)


def adamw(**options: Any) -> keras.Optimizer:
    """Create Adam with decoupled weight decay, https://arxiv.org/abs/1711.05101, with options of Keras's `AdamW`."""
    return (FusedAdamW if _is_tensorflow() else keras.optimizers.AdamW)(**options)


def _is_tensorflow() -> bool:
    """Return True on TensorFlow: JAX merges Keras's operations itself, and for PyTorch Keras has a faster update."""
    return keras.backend.backend() == "tensorflow"
