"""Training a fold, and going on with it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.backend import keras
from carvana.competition.dice import dice
from carvana.data import images
from carvana.data.folder import training_photos
from carvana.data.padding import Frame
from carvana.data.split import Split
from carvana.errors import InputError
from carvana.models.build import load
from carvana.models.run import Run, runs_of
from carvana.prediction.maps import mask_of, probability_maps
from carvana.recipe import Recipe, read_recipe
from carvana.training import checkpoint, fit
from carvana.training.folds import train_folds
from carvana.training.held_out import HeldOut


@pytest.fixture
def split(rendered: Path, tmp_path: Path) -> Split:
    photos = training_photos(rendered)
    cars = sorted({photo.car for photo in photos})
    (tmp_path / "two.csv").write_text(
        "car,fold\n" + "".join(f"{car},{n % 2}\n" for n, car in enumerate(cars))
    )
    return Split.read(photos, tmp_path / "two.csv")


def _recipe(*changes: str) -> Recipe:
    stages = "stages=[{size=[32, 48], epochs=2, batch=4, rate=2e-2}, {size=[64, 96], epochs=2, batch=4, rate=2e-2}]"
    small = ["width=4", "depth=1", "dropout=0.1", "warm_up=2", "precision=float32"]
    return read_recipe("miniature", [*small, stages, *changes])


def test_a_fold_is_trained_scored_and_kept(split: Split, tmp_path: Path) -> None:
    recipe = _recipe()
    (run,) = train_folds(recipe, split, [0], tmp_path / "runs")
    history = pd.read_csv(run.history)
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["height"].tolist() == [32, 32, 64, 64]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["rate"].iloc[-1] < 1e-3
    scores = run.read_scores()
    assert scores["img"].tolist() == [photo.name for photo in split.sides(0)[1]]
    assert scores["dice"].mean() > 0.6  # calling every pixel car reaches 0.33
    assert not run.checkpoint.exists()
    assert run.read_recipe().model_dump() == recipe.model_dump()


def test_the_scores_are_those_of_the_kept_weights(split: Split, tmp_path: Path) -> None:
    """The plain way, photo by photo: the map with its flip, upsampled, thresholded, against the GIF."""
    recipe = _recipe()
    (run,) = train_folds(recipe, split, [1], tmp_path / "runs")
    model, scores = load(run.model), run.read_scores().set_index("img")["dice"]
    for photo in split.sides(1)[1][::9]:
        pixels = images.read_photo(photo.path, recipe.size)
        (maps,) = probability_maps([model], [pixels], frame=Frame(2), tta="flip")
        truth = images.read_mask(photo.mask)
        assert scores[photo.name] == pytest.approx(dice(mask_of(maps[0], truth.shape, 0.5), truth), abs=2e-3)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed twice: within the first stage, and at its end."""
    (whole,) = train_folds(_recipe(), split, [0], tmp_path / "whole")
    save = checkpoint.save

    def save_and_die(path: Path, model: keras.Model, progress: checkpoint.Progress) -> None:
        save(path, model, progress)
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(fit.checkpoint, "save", save_and_die)
            train_folds(_recipe(), split, [0], tmp_path / "killed")
    (resumed,) = train_folds(_recipe(), split, [0], tmp_path / "killed")
    timings = ["train_s", "score_s"]
    histories = [pd.read_csv(run.history).drop(columns=timings) for run in (whole, resumed)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
    for expected, weights in zip(
        load(whole.model).get_weights(), load(resumed.model).get_weights(), strict=True
    ):
        assert np.allclose(weights, expected, atol=1e-4)


def test_a_network_with_a_margin_is_trained_and_scored(split: Split, tmp_path: Path) -> None:
    """The plain way for one photo: reflected by what the map lacks, asked whole, and cut."""
    recipe = _recipe("cropped=true", "tta=none", "stages=[{size=[32, 45], epochs=4, batch=4, rate=2e-2}]")
    (run,) = train_folds(recipe, split, [0], tmp_path / "runs")
    scores, photo = run.read_scores().set_index("img")["dice"], split.sides(0)[1][3]
    reflected = np.pad(images.read_photo(photo.path, (32, 45)), ((8, 8), (8, 9), (0, 0)), "reflect")
    probabilities = load(run.model).predict_on_batch(reflected[None])[0, :, :45, 0]
    truth = images.read_mask(photo.mask)
    assert scores[photo.name] == pytest.approx(
        dice(mask_of(probabilities, truth.shape, 0.5), truth), abs=2e-3
    )
    assert scores.mean() > 0.4


def test_a_recipe_that_could_not_start_is_in_nobodys_way(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(recipe: Recipe) -> None:
        raise InputError("its weights cannot be had")

    short = "stages=[{size=[32, 48], epochs=1, batch=8, rate=1e-3}]"
    with monkeypatch.context() as patch, pytest.raises(InputError, match="cannot be had"):
        patch.setattr(fit, "compiled", offline)
        train_folds(_recipe(short), split, [0], tmp_path / "runs")
    (run,) = train_folds(_recipe(short, "width=2"), split, [0], tmp_path / "runs")
    assert run.read_recipe().width == 2


def test_a_finished_fold_is_left_alone(split: Split, tmp_path: Path) -> None:
    recipe = _recipe("stages=[{size=[32, 48], epochs=1, batch=8, rate=1e-3}]")
    (run,) = train_folds(recipe, split, [0], tmp_path / "runs")
    written = run.model.stat().st_mtime_ns
    train_folds(recipe, split, [0], tmp_path / "runs")
    assert run.model.stat().st_mtime_ns == written
    train_folds(recipe, split, [0], tmp_path / "runs", fresh=True)
    assert run.model.stat().st_mtime_ns > written
    assert [found.fold for found in runs_of(tmp_path / "runs", recipe, 0)] == [0]
    with pytest.raises(InputError, match="fold-1: not trained to its end"):
        runs_of(tmp_path / "runs", recipe)
    with pytest.raises(InputError, match=r"trained with another recipe; it differs in width \(4, 8\)"):
        runs_of(tmp_path / "runs", recipe.model_copy(update={"width": 8}), 0)


def test_a_run_begun_on_other_folds_is_not_mixed_up(split: Split, tmp_path: Path) -> None:
    recipe = _recipe("stages=[{size=[32, 48], epochs=1, batch=8, rate=1e-3}]")
    train_folds(recipe, split, [0], tmp_path / "runs")
    other = Split(split.photos, 1 - split.folds, split.table, 0)
    with pytest.raises(InputError, match="trained on other photos or folds"):
        train_folds(recipe, other, [0], tmp_path / "runs")


def test_a_fold_that_does_not_exist_stops_before_any_work(split: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fold 5: not in the fold table two; for these cars it has 0, 1"):
        train_folds(_recipe(), split, [0, 5], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "checkpoint.npz", fit.compiled(_recipe()), checkpoint.Progress(epoch=1))
    with pytest.raises(InputError, match=r"checkpoint\.npz: cannot be resumed from"):
        checkpoint.restore(tmp_path / "checkpoint.npz", fit.compiled(_recipe("width=2")))


def test_a_truncated_state_is_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "checkpoint.npz", fit.compiled(_recipe())
    checkpoint.save(path, model, checkpoint.Progress(epoch=1))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be resumed from"):
        checkpoint.restore(path, model)


def test_a_perfect_answer_scores_one(split: Split) -> None:
    """A network that is told the masks: what is left are the resizing's errors, none at the photo's size."""
    photos = split.photos[:4]
    truths = iter(images.read_mask(photo.mask)[None, ..., None].astype(np.float32) for photo in photos)

    class Oracle:
        def predict_on_batch(self, asked: np.ndarray) -> np.ndarray:
            return np.concatenate([next(truths) for _ in asked])

    scores = HeldOut(photos, _recipe()).scores(Oracle(), (64, 96), "none")
    assert scores["dice"].tolist() == [1, 1, 1, 1]


def test_the_run_knows_its_fold() -> None:
    assert Run(Path("runs/x/fold-12")).fold == 12
