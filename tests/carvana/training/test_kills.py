"""A training that is killed before any of its file operations, and then repeated, ends like an undisturbed one."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from carvana.data.split import Split
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir, run_dir
from carvana.training.cross_validation import train_folds

RECIPE = read_recipe(
    "miniature",
    [
        "base_filters=2",
        "depth=1",
        "precision=float32",
        "tta=none",
        "dropout=0.1",
        "ema_decay=0.9",
        "augmentation.brightness=0.2",
        "stages=[{size=[32, 48], epochs=1, batch_size=4, learning_rate=1e-2},"
        "{size=[64, 96], epochs=2, batch_size=4, learning_rate=1e-2}]",
        "refine={size=[64, 96], patch=16, spacing=8, base_filters=2, depth=1, epochs=1, patches_per_photo=4}",
    ],
)


OTHER_RECIPE = RECIPE.model_copy(update={"refine": None, "stages": RECIPE.stages[:1]})


class Killed(BaseException):
    """Raised in place of a file operation: the process is as good as dead."""


class Kills:
    """Kills this process, so to speak, before a file operation in a folder: from there on, all of them fail.

    What a killed process would leave is left, because no block that cleans up can change a file either.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._is_next: Callable[[list[str]], bool] = lambda operations: False
        self._operations: list[str] = []
        sys.addaudithook(self._hook)  # for as long as Python runs

    @contextmanager
    def when(self, is_next: Callable[[list[str]], bool], folder: Path) -> Iterator[list[str]]:
        """Kill before the file operation in `folder` for which the list of operations, it included, is so.

        Yields the list.
        """
        self._folder, self._is_next, self._operations = folder, is_next, []
        try:
            yield self._operations
        finally:
            self._folder = None

    def _hook(self, event: str, arguments: tuple) -> None:
        if self._folder is None or event not in _CHANGING:
            return
        path = _CHANGING[event](arguments)
        if not isinstance(path, str | bytes) or not Path(os.fsdecode(path)).is_relative_to(self._folder):
            return
        self._operations.append(f"{event} {Path(os.fsdecode(path)).name}")
        if self._is_next(self._operations):
            raise Killed


def _opened_for_writing(arguments: tuple) -> object:
    path, _, flags = arguments
    return path if flags & (os.O_WRONLY | os.O_RDWR) else None


_CHANGING: dict[str, Callable[[tuple], object]] = {
    "open": _opened_for_writing,
    "os.rename": lambda arguments: arguments[1],
    "os.remove": lambda arguments: arguments[0],
    "os.mkdir": lambda arguments: arguments[0],
    "os.rmdir": lambda arguments: arguments[0],
}
"""The path that an audit event is about to change."""


@pytest.fixture(scope="module")
def kills() -> Kills:
    return Kills()


@pytest.fixture(scope="module", autouse=True)
def _same_in_every_run() -> Iterator[None]:
    """Without TensorFlow's graphs, which take seconds to trace, and with a clock that stands still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: 0.0)
        tensorflow.config.run_functions_eagerly(True)
        yield
        tensorflow.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def few(split: Split) -> Split:
    """Two photos of each car."""
    return Split(split.photos[::8], split.folds, split.table, split.absent)


@dataclass(frozen=True)
class Undisturbed:
    """A training that was not killed."""

    runs: Path
    files: dict[str, bytes]
    operations: list[str]


@pytest.fixture(scope="module")
def undisturbed(few: Split, tmp_path_factory: pytest.TempPathFactory, kills: Kills) -> Undisturbed:
    runs = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(runs, *_train(few, runs, kills))


@pytest.fixture(scope="module")
def files_of_the_other_recipe(
    few: Split, tmp_path_factory: pytest.TempPathFactory, kills: Kills
) -> dict[str, bytes]:
    return _train(few, tmp_path_factory.mktemp("other"), kills, OTHER_RECIPE)[0]


def _contents(run: RunDir) -> dict[str, bytes]:
    files = [path for path in run.folder.rglob("*") if path.is_file() and path != run.lock]
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in files}


def _train(
    few: Split, runs: Path, kills: Kills, recipe: Recipe = RECIPE
) -> tuple[dict[str, bytes], list[str]]:
    """Train undisturbed; return the content of the run's files, and the file operations."""
    with kills.when(lambda operations: False, runs / RECIPE.name) as operations:
        (run,) = train_folds(recipe, few, [0], runs)
    return _contents(run), operations


def test_a_finished_run_has_these_files(undisturbed: Undisturbed) -> None:
    assert sorted(undisturbed.files) == [
        "curve.png",
        "errors.csv",
        "history.csv",
        "metadata.json",
        "model.keras",
        "recipe.toml",
        "refiner.keras",
        "scores.csv",
        *(f"tensorboard/events.out.tfevents.{epoch:06d}" for epoch in (1, 2, 3, 4)),
    ]
    logged = EventAccumulator(str(run_dir(undisturbed.runs, RECIPE, 0).tensorboard)).Reload()
    assert [event.step for event in logged.Scalars("loss")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "operation",
    [
        "open .part-history.csv",
        "open .part-curve.png",
        "os.rename model.keras",
        "os.rename refiner.keras",
        "os.rename errors.csv",
        "os.rename scores.csv",
        "os.remove refiner-checkpoint.npz",
        "os.remove checkpoint.npz",
    ],
)
def test_a_kill_at_the_end_leaves_no_gap(
    undisturbed: Undisturbed, few: Split, tmp_path: Path, kills: Kills, operation: str
) -> None:
    """Killed before the last operation of its kind."""
    last = max(index for index, one in enumerate(undisturbed.operations) if one == operation)
    assert _killed(few, tmp_path, kills, last) == operation
    assert _train(few, tmp_path, kills)[0] == undisturbed.files


@pytest.mark.slow
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.fuzz), 25])
def test_a_kill_at_any_operation_leaves_no_gap(
    step: int, undisturbed: Undisturbed, few: Split, tmp_path: Path, kills: Kills
) -> None:
    assert len(undisturbed.operations) > 50
    chosen = list(enumerate(undisturbed.operations))[::step]
    print(f"{len(chosen)} kills", file=sys.stderr)
    for number, operation in chosen:
        runs = tmp_path / f"killed-{number}"
        _killed(few, runs, kills, number)
        assert _train(few, runs, kills)[0] == undisturbed.files, (
            f"killed before operation {number}: {operation}"
        )


@pytest.mark.parametrize(
    "operation", ["os.remove model.keras", "os.remove refiner.keras", "os.rmdir tensorboard"]
)
def test_what_a_killed_deletion_left_is_not_part_of_another_run(
    undisturbed: Undisturbed,
    files_of_the_other_recipe: dict[str, bytes],
    few: Split,
    tmp_path: Path,
    kills: Kills,
    operation: str,
) -> None:
    runs = shutil.copytree(undisturbed.runs, tmp_path / "killed")
    with kills.when(lambda operations: operation in operations, runs), pytest.raises(Killed):
        train_folds(OTHER_RECIPE, few, [0], runs, fresh=True)
    assert _train(few, runs, kills, OTHER_RECIPE)[0] == files_of_the_other_recipe


def _killed(few: Split, runs: Path, kills: Kills, number: int) -> str:
    """Kill a training before its operation `number`; return this operation."""
    is_next = lambda operations: len(operations) > number  # noqa: E731
    with kills.when(is_next, runs / RECIPE.name) as operations, pytest.raises(Killed):
        train_folds(RECIPE, few, [0], runs)
    return operations[number]
