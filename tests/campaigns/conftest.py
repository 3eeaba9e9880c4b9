"""A folder in which every step was run once, for campaigns that damage copies of it."""

import shutil
from pathlib import Path

import pytest

from tests.scripts import output_of

STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]"
REFINE = (
    "refine={size=[64, 96], patch=32, spacing=16, base_filters=4, depth=1, epochs=1, patches_per_photo=2}"
)
SET = ["--set", "base_filters=4", "--set", "depth=1", "--set", STAGE, "--set", REFINE]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every step was run once, on two folds, with refinement. Tests only read it."""
    cwd = tmp_path_factory.mktemp("finished")
    output_of("prepare", "--source", "turntable", "--cars", 4, "--test-cars", 2, "--size", "96x64", cwd=cwd)
    output_of("split", "--data", "data", "--n-folds", 2, cwd=cwd)
    output_of(
        "train", "--recipe", "miniature", "--data", "data", "--folds", "folds/data-2.csv", *SET, cwd=cwd
    )
    output_of("predict", "--recipe", "miniature", "--data", "data", "--each-fold", *SET, cwd=cwd)
    output_of("submit", "--each-fold", "--board", "local", cwd=cwd)
    shutil.copy(cwd / "runs/miniature/fold-0/recipe.toml", cwd / "mine.toml")
    return cwd
