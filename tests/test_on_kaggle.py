"""Training and prediction with `--on kaggle`, end to end: the stand-in really runs what is pushed."""

import os
import shutil
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.models.build import load

from .kaggle_stand_in import KaggleStandIn, Machine, Session, namespaces
from .scripts import error_of, output_of

pytestmark = pytest.mark.slow

STAGE = "stages=[{size=[32, 48], epochs=%d, batch_size=8, learning_rate=1e-2}]"
ON_KAGGLE = ["--on", "kaggle", "--hours", 2]


def train(epochs: int = 1) -> list[str]:
    """The arguments of a training of a tiny network on two folds."""
    changes = ["base_filters=4", "depth=1", STAGE % epochs]
    settings = [argument for change in changes for argument in ("--set", change)]
    return ["train", "--recipe", "miniature", "--folds", "folds/mini-2.csv", *settings]


def predict() -> list[str]:
    return ["predict", "--recipe", "miniature", "--each-fold", *train()[5:]]


def assert_same_weights(run: Path, other: Path) -> None:
    for weights, others in zip(
        *(load(one / "model.keras").get_weights() for one in (run, other)), strict=True
    ):
        np.testing.assert_array_equal(weights, others)


@pytest.fixture
def here(rendered: Path, tmp_path: Path, signed_in: KaggleStandIn) -> Path:
    """A folder with a fold table, and without photos."""
    signed_in.truth = rendered / "test_masks.csv"
    folder = tmp_path / "here"
    folder.mkdir()
    output_of("split", "--data", rendered, "--n-folds", 2, "--out", "folds/mini-2.csv", cwd=folder)
    return folder


@pytest.fixture
def at_home(rendered: Path, tmp_path: Path, here: Path) -> Path:
    """A folder for training on this machine, with the same fold table."""
    return Path(shutil.copytree(here, tmp_path / "at-home"))


@pytest.fixture
def machine(zips: Path, signed_in: KaggleStandIn) -> Machine:
    """Kaggle's machine with one GPU and the competition's zips."""
    machine = Machine(zips)
    machine.install(signed_in.kernels)
    return machine


def sessions(kaggle: KaggleStandIn) -> list[Session]:
    return [session for versions in kaggle.kernels.kernels.values() for session in versions]


def test_training_prediction_and_submission_give_the_same_bytes_as_at_home(
    here: Path, at_home: Path, rendered: Path, machine: Machine, signed_in: KaggleStandIn
) -> None:
    output_of(*train(), "--data", rendered, cwd=at_home)
    output_of(*predict(), "--data", rendered, cwd=at_home)

    text = output_of(*train(), *ON_KAGGLE, cwd=here)
    assert "self-test: one training step" in text
    assert "Out-of-fold Dice" in text
    for fold in (0, 1):
        run = Path("runs") / "miniature" / f"fold-{fold}"
        assert_same_weights(here / run, at_home / run)
        assert (here / run / "scores.csv").read_bytes() == (at_home / run / "scores.csv").read_bytes()
    assert "fold 0: trained already" in output_of(*train(), *ON_KAGGLE, cwd=here)

    machine.competition, machine.new_layout = rendered, False
    text = output_of(*predict(), *ON_KAGGLE, cwd=here)
    assert "Submissions, predicted on Kaggle" in text
    names = [f"miniature{ending}.csv.gz" for ending in ("", "-fold0", "-fold1")]
    for name in names:
        path = Path("submissions") / name
        assert (here / path).read_bytes() == (at_home / path).read_bytes()
    assert "predicted already" in output_of(*predict(), *ON_KAGGLE, cwd=here)
    assert len(sessions(signed_in)) == 2

    output_of("submit", "--each-fold", "--board", "kaggle", cwd=here)
    ledgers = [pd.read_csv(folder / "submissions" / "ledger.csv", dtype=str) for folder in (here, at_home)]
    same = [
        "submission",
        "recipe",
        "folds",
        "fold",
        "tta",
        "threshold",
        "cv_dice",
        "cv_low",
        "cv_high",
        "sha256",
    ]
    fetched, computed = (ledger[same].sort_values("submission", ignore_index=True) for ledger in ledgers)
    pd.testing.assert_frame_equal(fetched, computed)
    assert (ledgers[0]["board"] == "kaggle").all()
    assert ledgers[0]["public"].notna().all()


def test_a_session_whose_time_is_over_is_continued_by_the_next_version(
    here: Path, at_home: Path, rendered: Path, machine: Machine, signed_in: KaggleStandIn
) -> None:
    def stop_after_an_epoch() -> None:
        checkpoint = "temp/carvana/runs/miniature/fold-1/checkpoint.npz"
        while not (sessions(signed_in) and (sessions(signed_in)[0].folder / checkpoint).exists()):
            time.sleep(0.01)
        sessions(signed_in)[0].stop()

    threading.Thread(target=stop_after_an_epoch, daemon=True).start()
    message = error_of(*train(epochs=12), *ON_KAGGLE, cwd=here)
    assert "stopped when its time was over; what is finished was fetched" in message
    assert (here / "runs" / "miniature" / "fold-0" / "scores.csv").exists()
    assert not (here / "runs" / "miniature" / "fold-1" / "scores.csv").exists()

    text = output_of(*train(epochs=12), *ON_KAGGLE, cwd=here)
    assert "fold 1: resumes after epoch" in text
    assert len(sessions(signed_in)) == 2
    output_of(*train(epochs=12), "--data", rendered, cwd=at_home)
    for fold in (0, 1):
        run = Path("runs") / "miniature" / f"fold-{fold}"
        assert_same_weights(here / run, at_home / run)


def test_two_gpus_train_a_fold_each(here: Path, machine: Machine, signed_in: KaggleStandIn) -> None:
    machine.n_gpus = 2
    text = output_of(*train(), *ON_KAGGLE, cwd=here)
    assert "GPUs: Tesla T4, Tesla T4" in text
    assert "dashboard: http://127.0.0.1" in text
    assert all((here / "runs" / "miniature" / f"fold-{fold}" / "scores.csv").exists() for fold in (0, 1))


@pytest.mark.skipif(not namespaces(), reason="needs mount namespaces")
def test_a_package_that_the_image_lacks_without_internet(
    here: Path, machine: Machine, signed_in: KaggleStandIn
) -> None:
    machine.missing = ("simplejpeg", "isal")
    error_of(*train(), *ON_KAGGLE, "--offline", cwd=here)
    (session,) = sessions(signed_in)
    log = "".join(event["data"] for event in session.log)
    assert (
        "error: the notebook has no internet, and its image lacks simplejpeg, isal; attach a dataset" in log
    )
    assert "Traceback" not in log


def test_a_failed_self_test_is_shown(here: Path, machine: Machine, tmp_path: Path) -> None:
    machine.competition = Path(shutil.copytree(machine.competition, tmp_path / "broken"))
    with zipfile.ZipFile(machine.competition / "train_masks.zip", "w") as archive:
        archive.writestr("train_masks/00087a6bd4dc_01_mask.gif", b"GIF89a")
    os.utime(machine.competition / "train_masks.zip")
    message = error_of(*train(), *ON_KAGGLE, cwd=here)
    assert "failed; nothing was fetched; the same command pushes the next version" in message
