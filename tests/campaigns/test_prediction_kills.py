"""Predictions that are killed before each of their file operations, and repeated.

Networks are replaced by saved maps, so that a pair of runs takes a fraction of a second.
"""

import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill_points import ForkServer, contents, killed_and_repeated
from tests.prediction_helpers import write_maps

BLEND = ["--blend", "maps=1"]
PREDICT = [*BLEND, "--data", "data", "--keep-maps", "--out", "submissions/x.csv.gz"]
CUT_OUT = [*BLEND, "--images", "photos/*.jpg", "--cutouts", "photos", "--keep-maps"]

COMMANDS = {
    "predict": ([], [*PREDICT, "--threshold", "0.5"]),
    "predict again": ([*PREDICT, "--threshold", "0.3"], [*PREDICT, "--threshold", "0.7"]),
    "cut out": ([], [*CUT_OUT, "--threshold", "0.5"]),
    "cut out again": ([*CUT_OUT, "--threshold", "0.3"], [*CUT_OUT, "--threshold", "0.7"]),
}
"""The arguments of a run before, if there is one, and of the run that is killed."""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    modules = ["carvana.submission.predict_test", "carvana.inference.cutouts"]
    with ForkServer("predict", modules) as started:
        yield started


@pytest.fixture(scope="module")
def workspace(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two test photos with saved maps, and copies of the photos beside a file of the user. Tests only read it."""
    folder = tmp_path_factory.mktemp("workspace")
    for part in ("test", "sample_submission.csv"):
        (shutil.copytree if (rendered / part).is_dir() else _copy)(rendered / part, folder / "data" / part)
    write_maps(folder / "maps", folder / "data", photos=2)
    (folder / "photos").mkdir()
    for saved in (folder / "maps").iterdir():
        shutil.copy(folder / "data" / "test" / f"{saved.stem}.jpg", folder / "photos")
    (folder / "photos" / "mine.png").write_bytes(b"of the user")
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    shutil.copy(source, target)


def _without_times(ledger: bytes) -> list[dict[str, str]]:
    """Return the rows of a ledger without the column `when`."""
    rows = csv.DictReader(ledger.decode().splitlines())
    return [{column: cell for column, cell in row.items() if column != "when"} for row in rows]


def _contents(folder: Path) -> dict[str, object]:
    return contents(folder, ignored=["*.lock"], normalized={"ledger.csv": _without_times})


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_ends_as_an_undisturbed_one(
    name: str, server: ForkServer, workspace: Path, tmp_path: Path
) -> None:
    before, command = COMMANDS[name]
    prepared = Path(shutil.copytree(workspace, tmp_path / "prepared"))
    if before:
        assert server.run(before, prepared).status == 0
    undisturbed = Path(shutil.copytree(prepared, tmp_path / "undisturbed"))
    assert server.run(command, undisturbed).status == 0
    expected = _contents(undisturbed)
    differing = {
        operation: [file for file in {**expected, **found} if expected.get(file, 0) != found.get(file, 0)]
        for operation, folder in killed_and_repeated(server, command, prepared, tmp_path)
        for found in [_contents(folder)]
    }
    print(f"{name}: {len(differing)} kills", file=sys.stderr)
    assert len(differing) > 20
    assert {operation: files for operation, files in differing.items() if files} == {}
