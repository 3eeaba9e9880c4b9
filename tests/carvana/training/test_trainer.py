"""FoldTask a fold, and going on with it."""

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from carvana import console
from carvana.backend import keras
from carvana.competition.dice import dice
from carvana.data import images
from carvana.data.dataset import train_samples
from carvana.data.padding import SizeSpec
from carvana.data.split import Split
from carvana.errors import UserError
from carvana.inference.maps import mask_of, probability_maps
from carvana.locks import file_lock
from carvana.models.build import load
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir, finished_runs
from carvana.training import checkpoint, trainer
from carvana.training.cross_validation import FoldTask, train_folds
from carvana.training.train_step import TrainStep
from carvana.training.validation import Validator

SHORT = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-3}]"


@pytest.fixture
def split(rendered: Path, tmp_path: Path) -> Split:
    photos = train_samples(rendered)
    cars = sorted({photo.car for photo in photos})
    (tmp_path / "two.csv").write_text(
        "car,fold\n" + "".join(f"{car},{n % 2}\n" for n, car in enumerate(cars))
    )
    return Split.read(photos, tmp_path / "two.csv")


def _recipe(*changes: str) -> Recipe:
    stages = (
        "stages=[{size=[32, 48], epochs=2, batch_size=4, learning_rate=2e-2}, "
        "{size=[64, 96], epochs=2, batch_size=4, learning_rate=2e-2}]"
    )
    small = ["base_filters=4", "depth=1", "dropout=0.1", "warmup_steps=2", "precision=float32"]
    return read_recipe("miniature", [*small, stages, *changes])


def test_a_fold_that_another_finishes_meanwhile_is_left_alone(split: Split, tmp_path: Path) -> None:
    photos, held_out = (tuple(side) for side in split.train_val(0))
    training = FoldTask(_recipe(SHORT), RunDir(tmp_path / "fold-0"), photos, held_out)
    ours = threading.Thread(target=lambda: training.execute(None, console))
    with file_lock(training.run.lock, console):
        ours.start()
        time.sleep(0.2)
        training.run.scores.write_text("img,dice\n")
    ours.join()
    assert sorted(path.name for path in training.run.folder.iterdir()) == [".lock", "scores.csv"]


def test_what_is_done_of_a_fold_is_counted_in_photos(split: Split, tmp_path: Path) -> None:
    photos, held_out = (tuple(side) for side in split.train_val(0))
    training = FoldTask(_recipe(), RunDir(tmp_path / "fold-0"), photos, held_out)
    assert (len(photos), training.n_samples, training.completed()) == (32, 4 * 32, 0)
    training.run.folder.mkdir()
    checkpoint.save(training.run.checkpoint, [np.zeros(3)], checkpoint.Progress(epoch=3))
    assert training.completed() == 3 * 32
    training.run.checkpoint.write_bytes(b"half")
    assert training.completed() == 0


def test_a_fold_is_trained_scored_and_kept(split: Split, tmp_path: Path) -> None:
    recipe = _recipe()
    (run,) = train_folds(recipe, split, [0], tmp_path / "runs")
    history = pd.read_csv(run.history)
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["height"].tolist() == [32, 32, 64, 64]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["rate"].iloc[-1] < 1e-3
    scores = run.read_scores()
    assert scores["img"].tolist() == [photo.name for photo in split.train_val(0)[1]]
    assert scores["dice"].mean() > 0.6  # calling every pixel car reaches 0.33
    assert not run.checkpoint.exists()
    assert run.read_recipe().model_dump() == recipe.model_dump()


def test_the_scores_are_those_of_the_kept_weights(split: Split, tmp_path: Path) -> None:
    """The plain way, photo by photo: the map with its flip, upsampled, thresholded, against the GIF."""
    recipe = _recipe()
    (run,) = train_folds(recipe, split, [1], tmp_path / "runs")
    model, scores = load(run.model), run.read_scores().set_index("img")["dice"]
    for photo in split.train_val(1)[1][::9]:
        pixels = images.read_photo(photo.path, recipe.size)
        (maps,) = probability_maps([model], [pixels], size_spec=SizeSpec(2), tta="flip")
        truth = images.read_mask(photo.mask)
        assert scores[photo.name] == pytest.approx(dice(mask_of(maps[0], truth.shape, 0.5), truth), abs=2e-3)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed twice: within the first stage, and at its end."""
    recipe = _recipe("ema_decay=0.9")
    (whole,) = train_folds(recipe, split, [0], tmp_path / "whole")
    save = checkpoint.save

    def save_and_die(path: Path, state: list[np.ndarray], progress: checkpoint.Progress) -> None:
        save(path, state, progress)
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(trainer.checkpoint, "save", save_and_die)
            train_folds(recipe, split, [0], tmp_path / "killed")
    (resumed,) = train_folds(recipe, split, [0], tmp_path / "killed")
    timings = ["train_s", "score_s", "loader_per_s", "step_per_s"]
    histories = [pd.read_csv(run.history).drop(columns=timings) for run in (whole, resumed)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
    for expected, weights in zip(
        load(whole.model).get_weights(), load(resumed.model).get_weights(), strict=True
    ):
        assert np.allclose(weights, expected, atol=1e-4)


def test_a_network_with_a_margin_is_trained_and_scored(split: Split, tmp_path: Path) -> None:
    """The plain way for one photo: reflected by what the map lacks, asked whole, and cut."""
    recipe = _recipe(
        "padding=valid", "tta=none", "stages=[{size=[32, 45], epochs=4, batch_size=4, learning_rate=2e-2}]"
    )
    (run,) = train_folds(recipe, split, [0], tmp_path / "runs")
    scores, photo = run.read_scores().set_index("img")["dice"], split.train_val(0)[1][3]
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
    def offline(*arguments: object) -> None:
        raise UserError("its weights cannot be had")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="cannot be had"):
        patch.setattr(trainer, "TrainStep", offline)
        train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")
    (run,) = train_folds(_recipe(SHORT, "base_filters=2"), split, [0], tmp_path / "runs")
    assert run.read_recipe().base_filters == 2


def test_two_trainings_of_a_recipe_give_the_same_weights(split: Split, tmp_path: Path) -> None:
    """To the last bit, on a CPU."""
    recipe = _recipe("ema_decay=0.9", "augmentation.brightness=0.2")
    runs = [train_folds(recipe, split, [0], tmp_path / name)[0] for name in ("one", "other")]
    one, other = (load(run.model).get_weights() for run in runs)
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_a_run_can_be_looked_at(split: Split, tmp_path: Path) -> None:
    """Its curve as a picture, its epochs and four overlays of each in TensorBoard's log."""
    (run,) = train_folds(_recipe(), split, [0], tmp_path / "runs")
    assert cv2.imread(str(run.curve)).shape[0] > 300
    logged = EventAccumulator(str(run.tensorboard)).Reload()
    history = pd.read_csv(run.history)
    assert [event.value for event in logged.Scalars("loss")] == pytest.approx(history["loss"].tolist())
    assert [event.step for event in logged.Images("held_out/0")] == [1, 2, 3, 4]
    assert (logged.Images("held_out/0")[-1].height, logged.Images("held_out/0")[-1].width) == (64, 96)


def test_a_batch_that_does_not_fit_is_halved(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """On a device that holds 4 photos of 32x48, or 2 of 64x96; batches of 8."""
    _give_it_memory_for(4 * 32 * 48, monkeypatch)
    stages = (
        "stages=[{size=[32, 48], epochs=2, batch_size=8, learning_rate=2e-2}, "
        "{size=[32, 96], epochs=1, batch_size=8, learning_rate=2e-2}]"
    )
    (run,) = train_folds(_recipe(stages), split, [0], tmp_path / "runs")
    assert pd.read_csv(run.history)["accumulate"].tolist() == [2, 2, 4]
    said = capsys.readouterr().out
    assert said.count("do not fit the device") == 2
    assert "4 photos of 96x32 do not fit the device: goes on with 2 at once, 4 times a step" in said


def test_a_photo_that_does_not_fit_ends_the_training(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _give_it_memory_for(100, monkeypatch)
    with pytest.raises(UserError, match=r"1 photo\(s\) of 48x32 at once do not fit the device"):
        train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")


def _give_it_memory_for(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step fail as TensorFlow does where memory is short."""
    step = keras.Model.train_on_batch

    def bounded(model: keras.Model, photos: np.ndarray, masks: np.ndarray) -> float:
        if masks.size > pixels:
            raise tensorflow.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return step(model, photos, masks)

    monkeypatch.setattr(keras.Model, "train_on_batch", bounded)


def test_a_loss_that_is_not_finite_stops_at_once(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second epoch, by a weight that is no number; what the first one learnt is kept."""
    begin = trainer._Training._train_epoch

    def poisoned(training: trainer._Training, batches: object, epoch: int, advance: object) -> dict:
        if epoch == 1:
            training._step.model.weights[0].assign(training._step.model.weights[0] * np.nan)
        return begin(training, batches, epoch, advance)

    monkeypatch.setattr(trainer._Training, "_train_epoch", poisoned)
    named = r"(\w+_\d\d.jpg, ){3}\w+_\d\d.jpg"
    with pytest.raises(UserError, match=f"the loss is nan in epoch 2, on {named}; epoch 1's"):
        train_folds(_recipe(), split, [0], tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*/fold-0")
    assert all(np.isfinite(weights).all() for weights in load(RunDir(run).model).get_weights())
    state, progress = checkpoint.read(RunDir(run).checkpoint)
    assert progress.epoch == 1
    assert all(np.isfinite(array).all() for array in state)


def test_a_finished_fold_is_left_alone(split: Split, tmp_path: Path) -> None:
    recipe = _recipe(SHORT)
    (run,) = train_folds(recipe, split, [0], tmp_path / "runs")
    written = run.model.stat().st_mtime_ns
    train_folds(recipe, split, [0], tmp_path / "runs")
    assert run.model.stat().st_mtime_ns == written
    train_folds(recipe, split, [0], tmp_path / "runs", fresh=True)
    assert run.model.stat().st_mtime_ns > written
    assert [found.fold for found in finished_runs(tmp_path / "runs", recipe, 0)] == [0]
    with pytest.raises(UserError, match="fold-1: not trained to its end"):
        finished_runs(tmp_path / "runs", recipe)
    with pytest.raises(UserError, match=r"trained with another recipe; it differs in base_filters \(4, 8\)"):
        finished_runs(tmp_path / "runs", recipe.model_copy(update={"base_filters": 8}), 0)


def test_a_run_begun_on_other_folds_is_not_mixed_up(split: Split, tmp_path: Path) -> None:
    recipe = _recipe(SHORT)
    train_folds(recipe, split, [0], tmp_path / "runs")
    other = Split(split.photos, 1 - split.folds, split.table, 0)
    with pytest.raises(UserError, match="trained on other photos or folds"):
        train_folds(recipe, other, [0], tmp_path / "runs")


def test_a_fold_that_does_not_exist_stops_before_any_work(split: Split, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fold 5: not in the fold table two; for these cars it has 0, 1"):
        train_folds(_recipe(), split, [0, 5], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_state_of_another_network_is_refused(split: Split, tmp_path: Path) -> None:
    (run,) = train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")
    run.scores.unlink()
    checkpoint.save(
        run.checkpoint, TrainStep(_recipe("base_filters=2")).state(), checkpoint.Progress(epoch=1)
    )
    with pytest.raises(UserError, match=r"checkpoint\.npz: cannot be resumed from .*--fresh"):
        train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")


def test_a_perfect_answer_scores_one(split: Split) -> None:
    """A network that is told the masks: what is left are the resizing's errors, none at the photo's size."""
    photos = split.photos[:4]
    truths = iter(images.read_mask(photo.mask)[None, ..., None].astype(np.float32) for photo in photos)

    class Oracle:
        def predict_on_batch(self, asked: np.ndarray) -> np.ndarray:
            return np.concatenate([next(truths) for _ in asked])

    scores = Validator(photos, _recipe()).scores(Oracle(), (64, 96), "none")
    assert scores["dice"].tolist() == [1, 1, 1, 1]


def test_the_run_knows_its_fold() -> None:
    assert RunDir(Path("runs/x/fold-12")).fold == 12
