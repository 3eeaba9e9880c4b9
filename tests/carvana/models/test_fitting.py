"""The size of a photo, checked at a network's entrance."""

from pathlib import Path

import numpy as np
import pytest

from carvana.models.build import build, load
from carvana.recipe import read_recipe


@pytest.mark.parametrize(
    ("name", "size", "right"),
    [("baseline", (30, 48), (32, 48)), ("baseline", (33, 47), (36, 48)), ("cropped", (64, 71), (64, 72))],
)
def test_a_wrong_size_is_told_the_right_one(
    name: str, size: tuple[int, int], right: tuple[int, int], tmp_path: Path
) -> None:
    built = build(read_recipe(name, ["base_filters=1", "depth=2"]))
    built.save(tmp_path / "model.keras")
    says = rf"height {size[0]} and width {size[1]} do not fit.* height {right[0]} and width {right[1]}"
    for model in (built, load(tmp_path / "model.keras")):
        with pytest.raises(ValueError, match=says):
            model(np.zeros((1, *size, 3), np.float32))
        with pytest.raises(ValueError, match=says):
            model.predict_on_batch(np.zeros((1, *size, 3), np.uint8))
        assert np.isfinite(model.predict_on_batch(np.zeros((1, *right, 3), np.uint8))).all()
