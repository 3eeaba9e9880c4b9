"""`carvana.load`: weights that come with the code, a run's folder, and a recipe's ensemble."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import carvana
from carvana import weights
from carvana.errors import UserError
from carvana.models.build import build, save
from carvana.recipe import Recipe, read_recipe, write_recipe
from carvana.runs import RunDir, RunMetadata, TrainingRecord, run_dir
from carvana.weights import WeightsDescription, write_description

STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=2, learning_rate=1e-3}]"
SMALL = ["base_filters=2", "depth=1", "norm=none", "precision=float32", STAGE]


def _write(run: RunDir, recipe: Recipe) -> RunDir:
    """Write a finished run of a network that is not trained."""
    run.folder.mkdir(parents=True)
    save(build(recipe), run.model)
    write_recipe(recipe, run.recipe)
    run.write_metadata(RunMetadata(table="two", folds=[0, 1], split="a", backend="tensorflow", keras="3.0"))
    if run.holds_out:
        run.scores.write_text("img,dice\n00087a6bd4dc_01.jpg,0.99\n")
    else:
        run.write_training_record(
            TrainingRecord(photos=32, cars=2, minutes=1.5, resumed=False, machine="a processor", commit="")
        )
    return run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of the recipe `mine.toml` on two folds, and weights `packaged`; all networks differ."""
    (tmp_path / "mine.toml").write_text("")
    recipe = read_recipe("miniature", SMALL).model_copy(update={"name": "mine"})
    write_recipe(recipe, tmp_path / "mine.toml")
    for fold in (0, 1):
        run = run_dir(tmp_path / "runs", recipe, fold)
        _write(run, recipe)
        save(build(recipe.model_copy(update={"seed": fold})), run.model)
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path / "weights")
    packaged = _write(RunDir(tmp_path / "weights" / "packaged"), recipe)
    save(build(recipe.model_copy(update={"seed": 7})), packaged.model)
    write_description(WeightsDescription(recipe="packaged", sha256={}, out_of_fold=[]), packaged.folder)
    return tmp_path / "runs"


def test_weights_runs_and_ensembles_are_loaded(runs: Path) -> None:
    photo = np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)

    def probability(name: str | Path) -> np.ndarray:
        return carvana.load(name, runs=runs).probability(photo)

    first, second = (probability(runs / "mine" / f"fold-{fold}") for fold in (0, 1))
    ensemble, packaged = probability(str(runs.parent / "mine.toml")), probability("packaged")
    assert np.abs(first - second).max() > 0.01
    assert np.allclose(ensemble, (first + second) / 2, atol=1e-5)
    assert min(np.abs(packaged - one).max() for one in (first, second)) > 0.01


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fst",
            "fst: no such weights; known are packaged, or give the folder of a finished run or a recipe$",
        ),
        ("runs/mine", "runs/mine: no such weights"),
        ("miniature", "not trained"),
        ("other.toml", r"other\.toml: no such file"),
    ],
)
def test_what_is_not_there_is_named(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the checkout may have runs
    with pytest.raises(UserError, match=message):
        carvana.load(name)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, carvana; print(sorted({'keras', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
