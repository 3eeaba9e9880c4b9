"""Faults of the machine: full and read-only disks, and several commands at once.

After each fault the same command, undisturbed, ends with the files of a command that never met one.
"""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import onnx
import pandas as pd
import pytest

from tests.campaigns.conftest import SET
from tests.kill_points import contents
from tests.scripts import result_of, run_script, start_script, successful_output

MINIATURE = ["--recipe", "miniature", *SET]
TRAIN = ["train", *MINIATURE, "--data", "data", "--folds", "folds/data-2.csv", "--fold", "0", "--runs", "new"]
PREDICT = ["predict", *MINIATURE, "--data", "data", "--each-fold", "--keep-maps"]

COMMANDS = {
    "split": ["split", "--data", "data", "--n-folds", "2", "--out", "folds/new.csv"],
    "train": TRAIN,
    "predict": [*PREDICT, "--out", "submissions/new.csv.gz"],
    "cut out": ["predict", *MINIATURE, "--images", "data/test/*.jpg", "--cutouts", "new"],
    "submit": ["submit", "submissions/miniature.csv.gz", "--board", "local"],
    "compare": ["compare", "--html", "new.html"],
    "export": ["export", *MINIATURE, "--fold", "0", "--out", "new.onnx"],
}
"""A command of each kind that writes files."""

FREE_KB = [0, 8, 64]
"""Free space with which each command meets a full disk, sooner or later."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 64 MB, which only root can make."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"needs the right to mount a file system ({made.stderr.strip()})")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def outputs(folder: Path) -> dict[str, object]:
    """Return the content of all files without times.

    TensorFlow orders the files of SavedModels at random; `.exports.jsonl` holds checksums of them.
    """
    timed = ["history.csv", "curve.png", "ledger.csv", "new.html", "*.lock", "events.out.*"]
    ignored = [*timed, "saved_model.pb", "fingerprint.pb", "variables.*", ".exports.jsonl"]
    return contents(folder, ignored=ignored, normalized={"*.onnx": _operators_and_arrays})


def _operators_and_arrays(file: bytes) -> tuple[list[str], list[bytes]]:
    """Return what an ONNX file consists of; the converter orders and names it at random."""
    graph = onnx.load_from_string(file).graph
    operators = sorted(node.op_type for node in graph.node)
    return operators, sorted(array.raw_data for array in graph.initializer)


@pytest.fixture(scope="module")
def undisturbed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The files after each command without a fault, by the command's kind."""
    found = {}
    for name, command in COMMANDS.items():
        folder = tmp_path_factory.mktemp("undisturbed") / "folder"
        shutil.copytree(finished, folder)
        result = run_script(*command, cwd=folder)
        assert (result.status, result.stderr) == (0, ""), name
        found[name] = outputs(folder)
    return found


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", COMMANDS)
def test_after_a_full_disk_the_same_command_goes_on(
    name: str, finished: Path, small_disk: Path, undisturbed: dict[str, dict[str, object]]
) -> None:
    folder = Path(shutil.copytree(finished, small_disk / "folder"))
    statuses = []
    for free in FREE_KB:
        filler = small_disk / "filler"
        _fill(filler, free * 1024)
        result = run_script(*COMMANDS[name], cwd=folder)
        filler.unlink()
        statuses.append(result.status)
        if result.status:
            assert (result.status, result.stderr.count("\n")) == (1, 1), result.stderr
            assert "No space left on device" in result.stderr
            assert str(folder.name) in result.stderr or "new" in result.stderr or "ledger" in result.stderr
    assert statuses[0] == 1
    result = run_script(*COMMANDS[name], cwd=folder)
    assert (result.status, result.stderr) == (0, "")
    assert outputs(folder) == undisturbed[name]


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_disk_is_named_in_one_line(name: str, finished: Path, small_disk: Path) -> None:
    folder = Path(shutil.copytree(finished, small_disk / "folder"))
    before = outputs(folder)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    result = run_script(*COMMANDS[name], cwd=folder)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert (result.status, result.stderr.count("\n")) == (1, 1), result.stderr
    assert "Read-only file system" in result.stderr
    assert outputs(folder) == before


def test_no_row_is_lost_when_six_commands_submit_at_once(finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "folder"))
    (folder / "submissions" / "ledger.csv").unlink()
    names = [f"copy-{number}.csv.gz" for number in range(6)]
    for name in names:
        shutil.copy(folder / "submissions" / "miniature.csv.gz", folder / "submissions" / name)
    started = [
        start_script("submit", f"submissions/{name}", "--board", "local", cwd=folder) for name in names
    ]
    for process in started:
        successful_output(result_of(process))
    ledger = pd.read_csv(folder / "submissions" / "ledger.csv")
    assert sorted(ledger["submission"]) == names


@pytest.mark.slow
@pytest.mark.fuzz
def test_two_predictions_at_once_give_the_files_of_one(
    finished: Path, tmp_path: Path, undisturbed: dict[str, dict[str, object]]
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "folder"))
    started = [start_script(*COMMANDS["predict"], cwd=folder) for _ in range(2)]
    texts = [successful_output(result_of(process)) for process in started]
    assert sum("predicted already" in text for text in texts) == 1
    assert outputs(folder) == undisturbed["predict"]


def _fill(filler: Path, free: int) -> None:
    """Write a file that leaves `free` bytes of its disk free."""
    status = os.statvfs(filler.parent)
    left = status.f_bavail * status.f_frsize - free
    with open(filler, "wb") as file:
        for _ in itertools.repeat(None, left // status.f_frsize):
            file.write(bytes(status.f_frsize))
