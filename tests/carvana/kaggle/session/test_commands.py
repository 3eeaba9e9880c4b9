"""The step's commands of a session, and the end of its time."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from carvana.errors import UserError
from carvana.kaggle.options import MIN_HOURS
from carvana.kaggle.session.commands import (
    GRACE_S,
    Cancelled,
    gpus,
    predict_commands,
    run_until,
    train_commands,
)
from carvana.kaggle.session.settings import SessionSettings
from carvana.kaggle.session.work import work_seconds

SETTINGS = SessionSettings(
    step="train",
    recipe="fast",
    recipe_argument="fast",
    folds=(0, 1, 2),
    fold_argument="all",
    key="key",
    hours=12.0,
    parts=("train",),
    changes=("seed=1",),
    table="folds/carvana-5.csv",
)
CODE, DATA, RUNS = Path("/code"), Path("/data"), Path("/runs")


def train_arguments(settings: SessionSettings, left: list[int], n_gpus: int) -> list[list[str]]:
    """The arguments of each command after those that are the same for all."""
    commands = train_commands(settings, CODE, DATA, RUNS, left, n_gpus)
    same = ["--recipe", "fast", "--data", "/data", "--folds", "/code/folds/carvana-5.csv", "--runs", "/runs"]
    for command in commands:
        assert command[:12] == [sys.executable, "/code/src/train.py", *same, "--set", "seed=1"]
    return [command[12:] for command in commands]


@pytest.mark.parametrize(
    ("left", "n_gpus", "expected"),
    [
        ([0, 1, 2], 2, [["--fold", "all", "--cluster", "local:2"]]),
        ([1, 2], 2, [["--fold", "all", "--cluster", "local:2"]]),
        ([2], 2, [["--fold", "2", "--gpus", "all"]]),
        ([0, 1, 2], 1, [["--fold", "all"]]),
        ([2], 1, [["--fold", "2"]]),
        ([], 2, []),
    ],
)
def test_the_folds_that_are_left_decide_how_the_gpus_are_used(
    left: list[int], n_gpus: int, expected: list[list[str]]
) -> None:
    assert train_arguments(SETTINGS, left, n_gpus) == expected


def test_several_chosen_folds_are_trained_as_all_are() -> None:
    settings = replace(SETTINGS, fold_argument="0,2,3")
    assert train_arguments(settings, [0, 3], 2) == [["--fold", "0", "--fold", "3", "--cluster", "local:2"]]
    assert train_arguments(settings, [0, 3], 1) == [["--fold", "0", "--fold", "3"]]
    assert train_arguments(settings, [3], 2) == [["--fold", "3", "--gpus", "all"]]


def test_without_openssl_one_process_trains_all_folds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert train_arguments(SETTINGS, [0, 1, 2], 2) == [["--fold", "all"]]


def test_a_single_fold() -> None:
    settings = replace(SETTINGS, folds=(3,), fold_argument="3")
    assert train_arguments(settings, [3], 2) == [["--fold", "3", "--gpus", "all"]]


def test_a_recipes_own_file_is_taken_from_the_bundle() -> None:
    settings = replace(SETTINGS, recipe_argument="recipes/mine.toml")
    (command,) = train_commands(settings, CODE, DATA, RUNS, [0, 1], 1)
    assert command[3] == "/code/recipes/mine.toml"


def test_prediction_uses_all_gpus() -> None:
    settings = replace(SETTINGS, submission="fast.csv.gz", arguments=("--each-fold",), changes=())
    (command,) = predict_commands(settings, CODE, DATA, RUNS, Path("/out"), 2)
    options = ["--fold", "all", "--out", "/out/fast.csv.gz", "--each-fold", "--cluster", "local:2"]
    assert command[2:] == ["--recipe", "fast", "--data", "/data", "--runs", "/runs", *options]


def test_the_gpus_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    smi.write_text("#!/bin/sh\necho Tesla T4\necho Tesla T4\n")
    smi.chmod(0o755)
    assert gpus() == ["Tesla T4", "Tesla T4"]
    smi.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    assert gpus() == []
    smi.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


@pytest.mark.parametrize(("hours", "seconds"), [(12.0, 42_300), (1.0, 3_240), (0.5, 1_620)])
def test_some_of_a_sessions_time_is_left_for_saving(hours: float, seconds: float) -> None:
    assert work_seconds(hours) == pytest.approx(seconds)


STEP = ["sh", "-c", "trap 'touch interrupted; exit 130' INT; touch started; sleep 60 & wait"]
"""A command that Ctrl-C interrupts, unless it was started with Ctrl-C ignored."""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_time_for_saving_of_the_shortest_session_covers_that_of_an_interrupted_command() -> None:
    assert MIN_HOURS * 3600 - work_seconds(MIN_HOURS) > GRACE_S


def test_a_command_is_interrupted_when_the_time_is_over(tmp_path: Path) -> None:
    assert not run_until([STEP, python("open('second', 'w')")], tmp_path, time.monotonic() + 1.0)
    assert (tmp_path / "interrupted").exists()
    assert not (tmp_path / "second").exists()


def test_it_is_interrupted_even_where_the_notebook_ignores_ctrl_c(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run_until([STEP], tmp_path, time.monotonic() + 1.0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "interrupted").exists()


def test_a_command_that_does_not_end_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    started = time.monotonic()
    assert not run_until([python(stubborn)], tmp_path, started + 1.0, grace_s=0.5)


def test_commands_that_end_in_time(tmp_path: Path) -> None:
    commands = [python("open('first', 'w')"), python("open('second', 'w')")]
    assert run_until(commands, tmp_path, time.monotonic() + 60)
    assert (tmp_path / "second").exists()


def test_a_failed_command_ends_the_session(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit(3)")
    with pytest.raises(UserError, match=r"train\.py failed with exit status 3"):
        run_until([[sys.executable, "train.py"]], tmp_path, time.monotonic() + 60)


def test_a_cancelled_session_interrupts_its_command(tmp_path: Path) -> None:
    def cancel(*_: object) -> None:
        raise Cancelled

    def send() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, cancel)
    threading.Thread(target=send, daemon=True).start()
    try:
        with pytest.raises(Cancelled):
            run_until([STEP], tmp_path, time.monotonic() + 60)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "interrupted").exists()
