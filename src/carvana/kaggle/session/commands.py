"""The step's commands within a session, and their execution until the session's time is over."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from carvana.errors import UserError
from carvana.kaggle.session.settings import SessionSettings

GRACE_S = 120.0
"""Seconds that an interrupted command has to end by itself."""


class Cancelled(BaseException):
    """Kaggle ends the session."""


def gpus() -> list[str]:
    """Return the names of the machine's GPUs, e.g. `Tesla T4`."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True
        )
    except OSError:
        return []
    return listed.stdout.split("\n")[:-1] if listed.returncode == 0 else []


def train_commands(
    settings: SessionSettings, code: Path, data: Path, runs: Path, left: Sequence[int], n_gpus: int
) -> list[list[str]]:
    """Return the commands that train the folds that are left.

    Two or more folds are trained one per GPU at a time; a single one uses all GPUs. An all-reduce of the gradients
    over PCIe costs part of the second GPU, so it is used only where the second GPU would be idle.

    Args:
        settings: the session's settings.
        code: the folder of the unpacked bundle.
        data: the data folder.
        runs: the folder of the runs.
        left: folds that are not finished.
        n_gpus: number of GPUs.
    """
    command = [sys.executable, str(code / "src" / "train.py"), "--recipe", _recipe(settings, code)]
    command += ["--data", str(data), "--folds", str(code / settings.table), "--runs", str(runs)]
    command += _changes(settings)
    if len(left) == 1:
        return [[*command, "--fold", str(left[0]), *(["--gpus", "all"] if n_gpus > 1 else [])]]
    folds = ["all"] if settings.fold_argument == "all" else list(map(str, left))  # finished folds are skipped
    options = [argument for fold in folds for argument in ("--fold", fold)]
    return [[*command, *options, *_on_each(n_gpus)]] if left else []


def predict_commands(
    settings: SessionSettings, code: Path, data: Path, runs: Path, submissions: Path, n_gpus: int
) -> list[list[str]]:
    """Return the command that predicts the test photos, on all GPUs."""
    command = [sys.executable, str(code / "src" / "predict.py"), "--recipe", _recipe(settings, code)]
    command += ["--data", str(data), "--runs", str(runs), "--fold", settings.fold_argument]
    command += ["--out", str(submissions / settings.submission), *_changes(settings), *settings.arguments]
    return [[*command, *_on_each(n_gpus)]]


def run_until(
    commands: Sequence[Sequence[str]], cwd: Path, deadline: float, grace_s: float = GRACE_S
) -> bool:
    """Run commands one after the other, and interrupt them when the time is over.

    An interrupted step keeps its checkpoints, and continues from there when it is run again.

    Args:
        commands: the commands.
        cwd: the folder that they run in.
        deadline: the time of `time.monotonic` at which the running command is interrupted.
        grace_s: seconds that it then has to end by itself, before it is killed.

    Returns:
        False if a command was interrupted.

    Raises:
        UserError: a command failed.
    """
    for command in commands:
        # A notebook may be started with Ctrl-C ignored, which its processes would inherit.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(command, cwd=cwd, start_new_session=True)
        try:
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _interrupt(process, grace_s)
            return False
        except BaseException:  # the notebook is cancelled
            _interrupt(process, grace_s)
            raise
        if status:
            raise UserError(f"{Path(command[1]).name} failed with exit status {status}")
    return True


def _interrupt(process: subprocess.Popen, grace_s: float) -> None:
    """End a command as Ctrl-C does, and kill what is left of it."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _recipe(settings: SessionSettings, code: Path) -> str:
    """Return the recipe's name, or the absolute path of its file."""
    argument = settings.recipe_argument
    return str(code / argument) if argument.endswith(".toml") else argument


def _changes(settings: SessionSettings) -> list[str]:
    return [argument for change in settings.changes for argument in ("--set", change)]


def _on_each(n_gpus: int) -> list[str]:
    """Return the option that gives each GPU a process; none without openssl, which a cluster needs."""
    return ["--cluster", f"local:{n_gpus}"] if n_gpus > 1 and shutil.which("openssl") else []
