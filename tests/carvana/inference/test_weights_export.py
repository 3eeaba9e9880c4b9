"""Weights written in float16 from a run on all photos: they predict like the run."""

from pathlib import Path

import numpy as np
import pytest
from tests.prediction_helpers import probability_maps

from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.inference.config import weights_member
from carvana.inference.weights_export import export_weights
from carvana.models.build import build, load, save
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe, write_recipe
from carvana.runs import RunDir, RunMetadata, TrainingRecord, run_dir
from carvana.weights import find_weights, read_description

STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=2, learning_rate=1e-3}]"
REFINE = "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1}"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe("fast", ["base_filters=4", "depth=1", "precision=mixed_bfloat16", STAGE, REFINE])


@pytest.fixture(scope="module")
def runs(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[RunDir]:
    """Runs on folds 0 and 1, and on all photos, of networks that are not trained. Tests only read them."""
    folder = tmp_path_factory.mktemp("runs")
    return [_write(run_dir(folder, recipe, fold), recipe) for fold in (0, 1, None)]


def _write(run: RunDir, recipe: Recipe) -> RunDir:
    run.folder.mkdir(parents=True)
    save(build(recipe), run.model)
    save(build_refiner(refiner_recipe(recipe)), run.refiner)
    write_recipe(recipe, run.recipe)
    run.write_metadata(RunMetadata(table="two", folds=[0, 1], split="a", backend="tensorflow", keras="3.0"))
    if run.holds_out:
        run.scores.write_text(f"img,dice\n00087a6bd4d{run.fold}_01.jpg,0.99{run.fold}\n")
    else:
        run.write_training_record(
            TrainingRecord(
                photos=32, cars=2, minutes=1.5, resumed=False, machine="a processor", commit="1a2b"
            )
        )
    return run


@pytest.fixture(scope="module")
def exported(runs: list[RunDir], tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The weights. Tests only read them."""
    return export_weights(runs[2], runs[:2], "fast", tmp_path_factory.mktemp("weights") / "fast")


def test_the_weights_are_found_with_the_recipe_of_the_run(exported: RunDir, recipe: Recipe) -> None:
    member = weights_member(str(exported.folder), ["tta=none"])
    assert member.runs == (exported,)
    assert member.recipe == recipe.model_copy(update={"name": "fast-weights", "tta": "none"})
    with pytest.raises(UserError, match=r"trained with another recipe; it differs in depth \(1, 2\)"):
        weights_member(str(exported.folder), ["depth=2"])


def test_the_networks_are_those_of_the_run_in_float32(exported: RunDir, runs: list[RunDir]) -> None:
    for path, original in zip(exported.networks, runs[2].networks, strict=True):
        network = load(path)
        assert network.dtype_policy.name == "float32"
        for weights, others in zip(network.get_weights(), load(original).get_weights(), strict=True):
            assert np.allclose(weights, others, rtol=1e-3, atol=1e-7)
    photo = np.random.default_rng(0).integers(256, size=(32, 48, 3), dtype=np.uint8)
    maps = [
        probability_maps([load(run.model)], [photo], size_spec=SizeSpec(4))[0] for run in (exported, runs[2])
    ]
    assert np.allclose(*maps, atol=0.02)  # the run's network computes in bfloat16


def test_the_scores_are_those_of_the_folds(exported: RunDir) -> None:
    description = read_description(exported.folder)
    assert description.recipe == "fast"
    assert [(one.fold, one.dice, one.photos) for one in description.out_of_fold] == [
        (0, 0.99, 1),
        (1, 0.991, 1),
    ]
    assert sorted(description.sha256) == [
        "metadata.json",
        "model.keras",
        "recipe.toml",
        "refiner.keras",
        "training.json",
    ]


def test_a_run_with_a_held_out_fold_is_refused(runs: list[RunDir], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fold-0: weights to pass on are trained on all cars"):
        export_weights(runs[0], runs[:2], "fast", tmp_path / "fast")


def test_files_that_are_there_are_not_replaced(runs: list[RunDir], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="is not an empty folder"):
        export_weights(runs[2], runs[:2], "fast", tmp_path)


def test_a_damaged_network_is_found(exported: RunDir, tmp_path: Path) -> None:
    copy = tmp_path / "fast"
    copy.mkdir()
    for path in exported.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    content = bytearray((copy / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.keras").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.keras: its SHA-256 is not that of weights\.json"):
        find_weights(str(copy))
