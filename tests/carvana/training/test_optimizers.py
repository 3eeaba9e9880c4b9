"""Adam and AdamW give the weights that Keras's own give."""

import numpy as np
import pytest

from carvana.backend import jit, keras
from carvana.training.optimizers import adam, adamw


def trained(optimizer: keras.Optimizer) -> list[np.ndarray]:
    """Two weights after three updates by random gradients, and the optimizer's variables."""
    random = np.random.default_rng(0)
    weights = [keras.Variable(random.normal(size=size).astype(np.float32)) for size in ((3, 4), (5,))]
    optimizer.build(weights)

    @jit
    def update(*gradients: keras.KerasTensor) -> None:
        optimizer.apply(gradients)

    for _ in range(3):
        update(*(keras.ops.convert_to_tensor(random.normal(size=one.shape), "float32") for one in weights))
    return [np.array(one) for one in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize(
    "options", [{}, {"global_clipnorm": 0.5}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}]
)
def test_updates_are_those_of_keras(name: str, options: dict[str, float]) -> None:
    ours = trained({"Adam": adam, "AdamW": adamw}[name](learning_rate=0.01, **options))
    for weight, reference in zip(
        ours, trained(getattr(keras.optimizers, name)(0.01, **options)), strict=True
    ):
        np.testing.assert_allclose(weight, reference, rtol=1e-5, atol=1e-6)
