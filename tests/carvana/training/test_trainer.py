"""Training of a fold, and resuming it."""

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.prediction_helpers import mask_of, probability_maps

from carvana import console
from carvana.backend import keras
from carvana.competition.dice import dice
from carvana.data import images
from carvana.data.dataset import train_samples
from carvana.data.padding import SizeSpec
from carvana.data.split import Split
from carvana.errors import UserError
from carvana.locks import file_lock
from carvana.machine import describe_machine
from carvana.models.build import load
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir, finished_runs
from carvana.training import checkpoint, trainer
from carvana.training.checkpoint import Checkpoint, Progress
from carvana.training.cross_validation import FoldTask, train_folds
from carvana.training.train_step import TrainStep
from carvana.training.validation import Validator

SHORT = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-3}]"
EMA = ["ema_decay=0.9", "augmentation.brightness=0.2"]


@pytest.fixture(scope="module")
def trained(split: Split, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Fold 0 of `_recipe()`. Tests only read it."""
    return train_folds(_recipe(), split, [0], tmp_path_factory.mktemp("trained"))[0]


@pytest.fixture(scope="module")
def trained_with_ema(split: Split, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Fold 0 of `_recipe(*EMA)`. Tests only read it."""
    return train_folds(_recipe(*EMA), split, [0], tmp_path_factory.mktemp("trained_with_ema"))[0]


def _recipe(*changes: str) -> Recipe:
    stages = (
        "stages=[{size=[32, 48], epochs=2, batch_size=4, learning_rate=2e-2}, "
        "{size=[64, 96], epochs=2, batch_size=4, learning_rate=2e-2}]"
    )
    small = ["base_filters=4", "depth=1", "dropout=0.1", "warmup_steps=2", "precision=float32"]
    return read_recipe("miniature", [*small, stages, *changes])


def test_a_fold_that_another_process_finishes_is_not_trained(split: Split, tmp_path: Path) -> None:
    train, val = (tuple(samples) for samples in split.train_val(0))
    task = FoldTask(_recipe(SHORT), RunDir(tmp_path / "fold-0"), train, val)
    thread = threading.Thread(target=lambda: task.execute(None, console))
    with file_lock(task.run.lock, console):
        thread.start()
        time.sleep(0.2)
        task.run.scores.write_text("img,dice\n")
    thread.join()
    assert sorted(path.name for path in task.run.folder.iterdir()) == [".lock", "scores.csv"]


def test_the_progress_of_a_fold_is_counted_in_photos(split: Split, tmp_path: Path) -> None:
    train, val = (tuple(samples) for samples in split.train_val(0))
    task = FoldTask(_recipe(), RunDir(tmp_path / "fold-0"), train, val)
    assert (len(train), task.n_samples, task.completed()) == (32, 4 * 32, 0)
    task.run.folder.mkdir()
    checkpoint.save(task.run.checkpoint, Checkpoint([np.zeros(3)], [], Progress(epoch=3)))
    assert task.completed() == 3 * 32
    task.run.checkpoint.write_bytes(b"half")
    assert task.completed() == 0


def test_a_fold_is_trained_validated_and_saved(split: Split, trained: RunDir) -> None:
    history = pd.read_csv(trained.history)
    assert " ".join(history.columns) == (
        "epoch stage height width batch_size n_microbatches learning_rate loss dice"
        " train_s validation_s loader_per_s step_per_s"
    )
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["stage"].tolist() == [1, 1, 2, 2]
    assert history["height"].tolist() == [32, 32, 64, 64]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["learning_rate"].iloc[-1] < 1e-3
    scores = trained.read_scores()
    assert scores["img"].tolist() == [photo.name for photo in split.train_val(0)[1]]
    assert scores["dice"].mean() > 0.6  # a mask of all pixels reaches 0.33
    assert not trained.checkpoint.exists()
    assert trained.read_recipe().model_dump() == _recipe().model_dump()


def test_the_scores_are_those_of_the_saved_weights(split: Split, trained: RunDir) -> None:
    """Computed again photo by photo: the map averaged over flips, upsampled, thresholded, against the GIF."""
    model, scores = load(trained.model), trained.read_scores().set_index("img")["dice"]
    for photo in split.train_val(0)[1][::9]:
        pixels = images.read_photo(photo.path, _recipe().size)
        (maps,) = probability_maps([model], [pixels], size_spec=SizeSpec(2), tta="flip")
        truth = images.read_mask(photo.mask)
        assert scores[photo.name] == pytest.approx(dice(mask_of(maps[0], truth.shape, 0.5), truth), abs=2e-3)


def test_a_killed_training_resumes_and_gives_the_same_weights(
    split: Split, trained_with_ema: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed twice: within the first stage, and at its end."""
    recipe = _recipe(*EMA)
    save = checkpoint.save

    def save_and_interrupt(path: Path, saved: Checkpoint) -> None:
        save(path, saved)
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(trainer.checkpoint, "save", save_and_interrupt)
            train_folds(recipe, split, [0], tmp_path / "interrupted")
    (resumed,) = train_folds(recipe, split, [0], tmp_path / "interrupted")
    timings = ["train_s", "validation_s", "loader_per_s", "step_per_s"]
    histories = [pd.read_csv(run.history).drop(columns=timings) for run in (trained_with_ema, resumed)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
    for expected, weights in zip(
        load(trained_with_ema.model).get_weights(), load(resumed.model).get_weights(), strict=True
    ):
        assert np.allclose(weights, expected, atol=1e-4)


def test_a_network_of_valid_convolutions_is_trained_and_validated(split: Split, tmp_path: Path) -> None:
    """Computed again for one photo: padded by reflection to the network's input, predicted, and cropped."""
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


def test_a_recipe_that_could_not_start_may_be_replaced(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise UserError("its weights cannot be loaded")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="cannot be loaded"):
        patch.setattr(trainer, "TrainStep", fail)
        train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")
    (run,) = train_folds(_recipe(SHORT, "base_filters=2"), split, [0], tmp_path / "runs")
    assert run.read_recipe().base_filters == 2


def test_two_trainings_of_a_recipe_give_the_same_weights(
    split: Split, trained_with_ema: RunDir, tmp_path: Path
) -> None:
    """Bit by bit, on a CPU."""
    (again,) = train_folds(_recipe(*EMA), split, [0], tmp_path / "runs")
    first, second = (load(run.model).get_weights() for run in (trained_with_ema, again))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_machine_and_data_of_the_training_are_recorded(split: Split, trained: RunDir) -> None:
    metadata, (train, _) = trained.read_metadata(), split.train_val(0)
    assert describe_machine() in metadata.machine
    assert (metadata.train_photos, metadata.train_cars) == (len(train), len({photo.car for photo in train}))


def test_the_history_is_plotted_and_logged_for_tensorboard(trained: RunDir) -> None:
    assert cv2.imread(str(trained.curve)).shape[0] > 300
    logged = EventAccumulator(str(trained.tensorboard)).Reload()
    history = pd.read_csv(trained.history)
    assert [event.value for event in logged.Scalars("loss")] == pytest.approx(history["loss"].tolist())
    assert [event.step for event in logged.Images("validation/0")] == [1, 2, 3, 4]
    assert (logged.Images("validation/0")[-1].height, logged.Images("validation/0")[-1].width) == (64, 96)


def test_a_batch_that_does_not_fit_is_halved(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """On a device whose memory holds 4 photos of 32x48, or 2 of 32x96; batches of 8."""
    _limit_memory_to(4 * 32 * 48, monkeypatch)
    stages = (
        "stages=[{size=[32, 48], epochs=2, batch_size=8, learning_rate=2e-2}, "
        "{size=[32, 96], epochs=1, batch_size=8, learning_rate=2e-2}]"
    )
    (run,) = train_folds(_recipe(stages), split, [0], tmp_path / "runs")
    assert pd.read_csv(run.history)["n_microbatches"].tolist() == [2, 2, 4]
    output = capsys.readouterr().out
    assert output.count("does not fit the device") == 2
    assert (
        "a micro-batch of 4 photos of 96x32 does not fit the device: training continues with 4 micro-batches of 2"
        " per step"
    ) in output


def test_a_whole_batch_that_first_fails_in_a_later_stage_is_halved(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint was saved without gradient accumulation, and is loaded with it."""
    _limit_memory_to(4 * 32 * 48, monkeypatch)
    stage = "epochs=1, batch_size=4, learning_rate=2e-2}"
    stages = f"stages=[{{size=[32, 48], {stage}, {{size=[32, 96], {stage}]"
    (run,) = train_folds(_recipe(stages, "ema_decay=0.9"), split, [0], tmp_path / "runs")
    assert pd.read_csv(run.history)["n_microbatches"].tolist() == [1, 2]


def test_a_photo_that_does_not_fit_ends_the_training(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _limit_memory_to(100, monkeypatch)
    with pytest.raises(
        UserError, match="photos of 48x32 do not fit the device in micro-batches of 1, which cannot be halved"
    ):
        train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")


def _limit_memory_to(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step of more pixels fail with TensorFlow's out-of-memory error."""
    step = keras.Model.train_on_batch

    def limited(model: keras.Model, photos: np.ndarray, masks: np.ndarray) -> float:
        if masks.size > pixels:
            raise tensorflow.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return step(model, photos, masks)

    monkeypatch.setattr(keras.Model, "train_on_batch", limited)


def test_a_loss_that_is_not_finite_stops_the_training(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight becomes NaN in the second epoch; the checkpoint of the first is kept."""
    original, steps = TrainStep.step, iter(range(100))

    def step(self: TrainStep, photos: np.ndarray, masks: np.ndarray, learning_rate: float) -> float:
        if next(steps) == 8:  # the first of the second epoch: 32 photos in batches of 4
            self.model.weights[0].assign(self.model.weights[0] * np.nan)
        return original(self, photos, masks, learning_rate)

    monkeypatch.setattr(TrainStep, "step", step)
    named = r"(\w+_\d\d.jpg, ){3}\w+_\d\d.jpg"
    with pytest.raises(UserError, match=f"the loss is nan in epoch 2, on {named}; epoch 1's"):
        train_folds(_recipe(), split, [0], tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*/fold-0")
    assert all(np.isfinite(weights).all() for weights in load(RunDir(run).model).get_weights())
    saved = checkpoint.read(RunDir(run).checkpoint)
    assert saved.progress.epoch == 1
    assert all(np.isfinite(array).all() for array in (*saved.state, *saved.kept))


def test_a_finished_fold_is_not_trained_again(split: Split, tmp_path: Path) -> None:
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


def test_a_run_of_other_folds_is_not_resumed(split: Split, tmp_path: Path) -> None:
    recipe = _recipe(SHORT)
    train_folds(recipe, split, [0], tmp_path / "runs")
    other = Split(split.photos, 1 - split.folds, split.table, 0)
    with pytest.raises(UserError, match="trained on other photos, masks or folds"):
        train_folds(recipe, other, [0], tmp_path / "runs")


@pytest.mark.parametrize("folder", ["train", "train_masks"])
def test_a_run_of_other_photos_or_masks_is_not_kept(
    trained: RunDir, split: Split, data: Path, folder: str
) -> None:
    """A copy of the data is the same; another file of the same name and size is not."""
    copied = Split(tuple(train_samples(data)), split.folds, split.table, split.absent)
    runs = trained.folder.parent.parent
    assert train_folds(_recipe(), copied, [0], runs) == [trained]
    for path in (data / folder).iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(
        UserError, match=rf"masks or folds than \S+/train, \S+/train_masks and the fold table {split.table};"
    ):
        train_folds(_recipe(), copied, [0], runs)


def test_a_fold_that_does_not_exist_is_found_before_any_training(split: Split, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fold 5: not in the fold table two; for these cars it has 0, 1"):
        train_folds(_recipe(), split, [0, 5], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_another_network_is_refused(split: Split, tmp_path: Path) -> None:
    (run,) = train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")
    run.scores.unlink()
    other = TrainStep(_recipe("base_filters=2"))
    checkpoint.save(run.checkpoint, Checkpoint(other.state(), other.model.get_weights(), Progress(epoch=1)))
    with pytest.raises(UserError, match=r"checkpoint\.npz: cannot be resumed from .*--fresh"):
        train_folds(_recipe(SHORT), split, [0], tmp_path / "runs")


def test_true_masks_score_one(split: Split) -> None:
    """A network that returns the true masks, at the photos' own size, so that resizing adds no error."""
    photos = split.photos[:4]
    truths = iter(images.read_mask(photo.mask)[None, ..., None].astype(np.float32) for photo in photos)

    class Oracle:
        def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
            return np.concatenate([next(truths) for _ in batch])

    assert Validator(photos, _recipe()).mean_dice(Oracle(), (64, 96)) == 1


def test_the_fold_is_read_from_the_name_of_the_folder() -> None:
    assert RunDir(Path("runs/x/fold-12")).fold == 12


def test_without_a_held_out_fold_all_photos_are_trained_on(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The weights are those of the last epoch, and there is no score."""
    (run,) = train_folds(_recipe("ema_decay=0.9"), split, [None], tmp_path)
    assert run.folder == tmp_path / "miniature" / "all"
    assert sorted(path.name for path in run.folder.iterdir() if path.is_file()) == [
        ".lock",
        "curve.png",
        "history.csv",
        "metadata.json",
        "model.keras",
        "recipe.toml",
        "training.json",
    ]
    record = run.read_training_record()
    assert (record.photos, record.cars, record.resumed) == (64, 4, False)
    assert "no fold held out, 48x32 epoch 2/2: loss " in capsys.readouterr().out
    assert "dice" not in pd.read_csv(run.history)
    assert train_folds(_recipe("ema_decay=0.9"), split, [None], tmp_path) == [run]
    assert "no fold held out: trained already" in capsys.readouterr().out


def test_a_killed_training_on_all_photos_resumes_and_gives_the_same_weights(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, save = _recipe(SHORT.replace("epochs=1", "epochs=2")), checkpoint.save

    def save_and_interrupt(path: Path, saved: Checkpoint) -> None:
        save(path, saved)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.checkpoint, "save", save_and_interrupt)
        train_folds(recipe, split, [None], tmp_path / "interrupted")
    (resumed,) = train_folds(recipe, split, [None], tmp_path / "interrupted")
    assert resumed.read_training_record().resumed
    (undisturbed,) = train_folds(recipe, split, [None], tmp_path / "undisturbed")
    weights, expected = (load(run.model).get_weights() for run in (resumed, undisturbed))
    assert all(np.array_equal(one, other) for one, other in zip(weights, expected, strict=True))
