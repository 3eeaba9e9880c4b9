"""Training that starts from trained weights."""

from pathlib import Path

import numpy as np
import pytest

from carvana.data.split import Split
from carvana.errors import UserError
from carvana.models.build import build, build_from, load, save
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir, run_dir
from carvana.training.cross_validation import train_folds

STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-30}]"
REFINE = (
    "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1, epochs=1, patches_per_photo=2,"
    " learning_rate=1e-30}"
)
SMALL = ["base_filters=4", "depth=1", "norm=none", "precision=float32", "weight_decay=1e-30", STAGE]


def _recipe(*changes: str) -> Recipe:
    """A recipe whose training leaves the weights nearly as they are."""
    return read_recipe("miniature", [*SMALL, *changes])


@pytest.fixture(scope="module")
def few(split: Split) -> Split:
    """Two photos of each car."""
    return Split(split.photos[::8], split.folds, split.table, split.absent)


@pytest.fixture
def init(tmp_path: Path) -> RunDir:
    """Networks with other initial weights than those of the recipe."""
    run = RunDir(tmp_path / "init")
    recipe = _recipe(REFINE, "seed=5")
    save(build(recipe), run.model)
    save(build_refiner(refiner_recipe(recipe)), run.refiner)
    return run


def _differ(first: Path, second: Path) -> float:
    """Return the largest difference of two networks' weights."""
    weights = zip(load(first).get_weights(), load(second).get_weights(), strict=True)
    return max(float(np.abs(one - other).max()) for one, other in weights)


def test_both_networks_start_from_the_given_ones(few: Split, init: RunDir, tmp_path: Path) -> None:
    recipe = _recipe(REFINE)
    (run,) = train_folds(recipe, few, [0], tmp_path / "warm", init=init)
    (cold,) = train_folds(recipe, few, [0], tmp_path / "cold")
    for network, other, start in zip(run.networks, cold.networks, init.networks, strict=True):
        assert _differ(network, start) < 1e-6
        assert _differ(other, start) > 0.1
    assert sorted(run.read_metadata().init) == ["model.keras", "refiner.keras"]
    assert cold.read_metadata().init is None


def test_a_run_from_other_weights_is_not_kept(few: Split, init: RunDir, tmp_path: Path) -> None:
    (run,) = train_folds(_recipe(), few, [0], tmp_path / "runs", init=init)
    assert train_folds(_recipe(), few, [0], tmp_path / "runs", init=init) == [run]
    with pytest.raises(UserError, match="trained from other initial weights; train --fresh"):
        train_folds(_recipe(), few, [0], tmp_path / "runs")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["base_filters=8"],
            r"model\.keras: does not fit the recipe miniature: it has \(3, 3, 3, 4\) where",
        ),
        (
            ["depth=2"],
            r"model\.keras: does not fit the recipe miniature: it has .* choose others",
        ),
        (
            [REFINE.replace("base_filters=4", "base_filters=2")],
            r"refiner\.keras: does not fit the recipe miniature",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused_before_any_training(
    few: Split, init: RunDir, tmp_path: Path, changes: list[str], message: str
) -> None:
    recipe = _recipe(*changes)
    with pytest.raises(UserError, match=message):
        train_folds(recipe, few, [0], tmp_path / "runs", init=init)
    assert not run_dir(tmp_path / "runs", recipe, 0).recipe.exists()


def test_a_network_of_fewer_or_more_layers_is_refused(tmp_path: Path) -> None:
    shallow, deep = _recipe(), _recipe("depth=2")
    save(build(shallow), tmp_path / "shallow.keras")
    save(build(deep), tmp_path / "deep.keras")
    for path, recipe in ((tmp_path / "shallow.keras", deep), (tmp_path / "deep.keras", shallow)):
        with pytest.raises(UserError, match="does not fit the recipe miniature: it has "):
            build_from(path, build, recipe)
