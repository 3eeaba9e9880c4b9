"""Training of the refinement network after the first one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.data import images
from carvana.data.split import Split
from carvana.evaluation.errors import read_errors
from carvana.inference.config import EnsembleMember
from carvana.models.build import load
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir, finished_runs
from carvana.training import checkpoint, trainer
from carvana.training.checkpoint import Checkpoint, Progress
from carvana.training.cross_validation import FoldTask, train_folds
from carvana.training.refiner_trainer import PatchSamples
from carvana.training.validation import Validator

REFINE = "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1, epochs=2, patches_per_photo=8}"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    stages = "stages=[{size=[32, 48], epochs=8, batch_size=4, learning_rate=1e-2}]"
    return read_recipe("miniature", ["base_filters=4", "depth=2", "precision=float32", stages, REFINE])


@pytest.fixture(scope="module")
def trained(split: Split, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Fold 0 of the recipe. Tests only read it."""
    return train_folds(recipe, split, [0], tmp_path_factory.mktemp("trained"))[0]


def test_a_run_has_both_networks_and_one_history(trained: RunDir) -> None:
    assert trained.networks == [trained.model, trained.refiner]
    assert not trained.checkpoint.exists()
    assert not trained.refiner_checkpoint.exists()
    history = pd.read_csv(trained.history)
    assert history["epoch"].tolist() == list(range(1, 11))
    assert history["stage"].tolist() == [1] * 8 + [2] * 2
    assert history["height"].tolist() == [32] * 8 + [16] * 2
    assert history["loss"].iloc[-1] < history["loss"].iloc[8]
    assert history["dice"].between(0, 1).all()


def test_the_scores_are_those_of_the_refined_maps(trained: RunDir) -> None:
    errors = read_errors(trained.errors)
    refined = errors[errors["map"] == "refined"].reset_index(drop=True)
    coarse = errors[errors["map"] == "coarse"].reset_index(drop=True)
    pd.testing.assert_frame_equal(refined[["img", "dice"]], trained.read_scores())
    assert coarse["img"].tolist() == refined["img"].tolist()
    assert (coarse["dice"] != refined["dice"]).any()


def test_the_errors_are_the_wrong_pixels(trained: RunDir, split: Split) -> None:
    """Dice is 1 - wrong / (area of mask + area of truth), and that sum is twice the truth's area, about."""
    errors = read_errors(trained.errors)
    counts = errors.filter(regex="within|beyond").sum(axis=1)
    areas = {sample.name: sample.read_mask().sum() for sample in split.train_val(0)[1]}
    for img, dice, wrong in zip(errors["img"], errors["dice"], counts, strict=True):
        assert (1 - dice) * (2 * areas[img] - wrong) <= wrong + 1 <= (1 - dice) * (2 * areas[img] + wrong) + 2


def test_the_fingerprint_of_a_prediction_depends_on_the_refiner(
    trained: RunDir, recipe: Recipe, tmp_path: Path
) -> None:
    member = EnsembleMember(recipe.name, 1.0, recipe, (trained,))
    other = RunDir(tmp_path / "fold-0")
    other.folder.mkdir()
    other.model.write_bytes(trained.model.read_bytes())
    other.refiner.write_bytes(trained.refiner.read_bytes() + b"0")
    assert member.fingerprint() != EnsembleMember(recipe.name, 1.0, recipe, (other,)).fingerprint()


def test_a_killed_training_resumes_and_gives_the_same_weights(
    trained: RunDir, recipe: Recipe, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first network's last epoch, and after the refinement network's first."""
    save = checkpoint.save

    def interrupt(path: Path, epoch: int) -> None:
        def save_and_interrupt(saved: Path, state: Checkpoint) -> None:
            save(saved, state)
            if saved.name == path.name and state.progress.epoch == epoch:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(trainer.checkpoint, "save", save_and_interrupt)
            train_folds(recipe, split, [0], tmp_path)

    interrupt(trained.checkpoint, 8)
    interrupt(trained.refiner_checkpoint, 1)
    (run,) = train_folds(recipe, split, [0], tmp_path)
    for network, expected in zip(run.networks, trained.networks, strict=True):
        weights, others = load(network).get_weights(), load(expected).get_weights()
        assert all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))
    pd.testing.assert_frame_equal(run.read_scores(), trained.read_scores())


def test_both_networks_are_trained_on_all_photos(split: Split, recipe: Recipe, tmp_path: Path) -> None:
    few = Split(split.photos[::4], split.folds, split.table, split.absent)
    short = recipe.model_copy(update={"stages": (recipe.stages[0].model_copy(update={"epochs": 1}),)})
    (run,) = train_folds(short, few, [None], tmp_path)
    assert run.networks == [run.model, run.refiner]
    assert pd.read_csv(run.history)["stage"].tolist() == [1, 2, 2]
    assert run.read_training_record().photos == len(few.photos)


def test_a_run_is_used_with_the_refinement_that_it_was_trained_with(trained: RunDir, recipe: Recipe) -> None:
    changed = recipe.model_copy(update={"refine": recipe.refine.model_copy(update={"spacing": 4})})
    with pytest.raises(Exception, match=r"differs in refine\.spacing \(8, 4\)"):
        finished_runs(trained.folder.parent.parent, changed, 0)


def test_the_progress_counts_photos_and_patches(split: Split, recipe: Recipe, tmp_path: Path) -> None:
    train, val = (tuple(samples) for samples in split.train_val(0))
    task = FoldTask(recipe, RunDir(tmp_path / "fold-0"), train, val)
    photos, patches = len(train), len(train) * 8
    assert task.n_samples == 8 * photos + photos + 2 * patches
    task.run.folder.mkdir()
    checkpoint.save(task.run.checkpoint, Checkpoint([np.zeros(3)], [], Progress(epoch=8)))
    checkpoint.save(task.run.refiner_checkpoint, Checkpoint([np.zeros(3)], [], Progress(epoch=1)))
    assert task.completed() == 8 * photos + patches


def test_patches_hold_photo_map_and_mask_of_one_place(trained: RunDir, recipe: Recipe, split: Split) -> None:
    photos = split.train_val(0)[0][:3]
    patches = PatchSamples(photos, recipe.refine, seed=0)
    list(patches.fill(Validator(photos, recipe).ensemble(load(trained.model), recipe.size)))
    assert len(patches) == len(patches.samples) == 24
    for number in range(len(patches)):
        sample = patches.samples[number]
        photo, maps = patches[number]
        pixels, mask = images.read_photo(sample.path), sample.read_mask()
        places = np.lib.stride_tricks.sliding_window_view(pixels, (16, 16, 3))[:, :, 0]
        row, column = np.argwhere((places == photo).all(axis=(2, 3, 4)))[0]
        assert np.array_equal(maps[..., 1] > 0, mask[row : row + 16, column : column + 16])


def test_the_refinement_networks_recipe_is_that_of_a_single_stage(recipe: Recipe) -> None:
    refiner = refiner_recipe(recipe)
    assert [stage.size for stage in refiner.stages] == [(16, 16)]
    assert refiner.precision == recipe.precision
    assert build_refiner(refiner).input_shape == (None, None, None, 4)
