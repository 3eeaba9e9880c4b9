"""Loggers of a training: TensorBoard, and Weights & Biases in its offline mode."""

import importlib.util
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.scripts import error_of

from carvana.data.split import Split
from carvana.errors import UserError
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir, RunMetadata
from carvana.training.cross_validation import train_folds
from carvana.training.loggers import SCALARS, check_installed, open_loggers

ROW = {"epoch": 1, "loss": 0.5, "dice": 0.9, "learning_rate": 1e-3, "loader_per_s": 20.0, "step_per_s": 9.0}
OVERLAY = np.full((8, 12, 3), 90, np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "runs" / "fast" / "fold-1")
    run.folder.mkdir(parents=True)
    run.write_metadata(
        RunMetadata(table="carvana-5", folds=[0, 1], split="0a1b", backend="tensorflow", keras="3")
    )
    return run


@pytest.fixture
def recipe() -> Recipe:
    return read_recipe("fast", ["seed=7"])


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    wandb = pytest.importorskip("wandb", reason="needs wandb (pip install wandb)")
    for name, value in (
        ("MODE", "offline"),
        ("CONFIG_DIR", tmp_path / "config"),
        ("CACHE_DIR", tmp_path / "cache"),
    ):
        monkeypatch.setenv(f"WANDB_{name}", str(value))
    wandb.teardown()  # it reads the environment once
    yield
    wandb.teardown()


def _records_of_file(path: Path) -> Iterator[bytes]:
    """Read the records of a file that `wandb sync` uploads: a header of 7 bytes, and LevelDB's log format.

    https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    data, place, record, full, last = path.read_bytes(), 7, b"", 1, 4
    while place + 7 <= len(data):
        left_in_block = 32_768 - place % 32_768
        if left_in_block < 7:
            place += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (full, last):
            yield record
            record = b""


def _offline_records(run: RunDir) -> list:
    """Return the records of all sessions, the oldest first."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # ends the process that writes the files
    files = sorted(run.wandb.glob("offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    return [wandb_internal_pb2.Record.FromString(one) for file in files for one in _records_of_file(file)]


def _logged(run: RunDir) -> list[dict]:
    """Return the logged values of each step."""
    steps = [record.history.item for record in _offline_records(run) if record.HasField("history")]
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
        for items in steps
    ]


def test_tensorboard_is_always_logged(run: RunDir, recipe: Recipe) -> None:
    with open_loggers("tensorboard", run, recipe) as (logger,):
        logger.log_epoch(ROW, [OVERLAY])
    logged = EventAccumulator(str(run.tensorboard)).Reload()
    assert {name: logged.Scalars(name)[0].value for name in SCALARS} == pytest.approx(
        {name: ROW[name] for name in SCALARS}
    )
    assert not run.wandb.exists()


def test_epochs_are_logged_offline(
    offline: None, run: RunDir, recipe: Recipe, capsys: pytest.CaptureFixture
) -> None:
    with open_loggers("wandb", run, recipe) as loggers:
        for epoch in (1, 2):
            for logger in loggers:
                logger.log_epoch(ROW | {"epoch": epoch, "loss": 0.5 / epoch}, [OVERLAY])
    logged = _logged(run)
    assert [(values["_step"], values["loss"], values["dice"]) for values in logged] == [
        (1, 0.5, 0.9),
        (2, 0.25, 0.9),
    ]
    pictures = sorted(run.wandb.glob("offline-run-*/files/media/images/validation/0_*.png"))
    assert len(pictures) == 2
    assert f"fold 1: Weights & Biases logs to {run.wandb}" in capsys.readouterr().out
    assert len(EventAccumulator(str(run.tensorboard)).Reload().Scalars("loss")) == 2


def test_the_run_is_named_by_recipe_and_fold_and_holds_the_settings(
    offline: None, run: RunDir, recipe: Recipe
) -> None:
    with open_loggers("wandb", run, recipe):
        pass
    (begun,) = [record.run for record in _offline_records(run) if record.HasField("run")]
    assert (begun.project, begun.run_group, begun.display_name) == ("carvana", "fast", "fast fold-1")
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert (config["seed"], config["fold"], config["fold_table"]) == (7, "fold-1", "carvana-5")
    assert config["stages"] == json.loads(recipe.model_dump_json())["stages"]


def test_a_resumed_training_continues_the_run(offline: None, run: RunDir, recipe: Recipe) -> None:
    for epoch in (1, 2):
        with open_loggers("wandb", run, recipe) as loggers:
            loggers[-1].log_epoch(ROW | {"epoch": epoch}, [])
    ids = {record.run.run_id for record in _offline_records(run) if record.HasField("run")}
    assert ids == {(run.wandb / "id").read_text()}
    assert [values["_step"] for values in _logged(run)] == [1, 2]


def test_an_epoch_without_held_out_photos_has_no_dice(offline: None, run: RunDir, recipe: Recipe) -> None:
    with open_loggers("wandb", run, recipe) as loggers:
        for logger in loggers:
            logger.log_epoch({key: value for key, value in ROW.items() if key != "dice"}, [])
    (values,) = _logged(run)
    assert "dice" not in values
    assert values["loss"] == 0.5


def test_a_training_is_logged_from_its_first_to_its_last_epoch(
    offline: None, split: Split, tmp_path: Path
) -> None:
    stages = "stages=[{size=[32, 48], epochs=2, batch_size=8, learning_rate=1e-3}]"
    recipe = read_recipe("miniature", ["base_filters=2", "depth=1", stages])
    (trained,) = train_folds(recipe, split, [0], tmp_path / "runs", logger="wandb")
    assert [values["loss"] for values in _logged(trained)] == trained.read_history()["loss"].tolist()


def test_nobody_is_logged_in(
    offline: None, run: RunDir, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(UserError, match=r"--logger wandb: .*; log in by `wandb login`"):
        open_loggers("wandb", run, recipe).__enter__()


def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    run: RunDir, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    expected = r"the package wandb is not installed; install it by `.*python.* -m pip install wandb`"
    with pytest.raises(UserError, match=expected):
        check_installed("wandb")
    with pytest.raises(UserError, match=expected), open_loggers("wandb", run, recipe):
        pass
    check_installed("tensorboard")


def test_the_command_ends_before_any_work_without_the_package(tmp_path: Path) -> None:
    if importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed")
    command = ["train", "--recipe", "fast", "--data", "nowhere", "--logger", "wandb"]
    assert "wandb is not installed; install it by" in error_of(*command, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
