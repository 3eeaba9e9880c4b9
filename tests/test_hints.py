"""Commands in messages of errors: each works as printed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from carvana.recipe import RECIPES, read_recipe, write_recipe
from carvana.runs import RunDir, RunMetadata, run_dir

from .scripts import error_of, output_of

TINY = ["base_filters=2", "depth=1", "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]"]
CHANGES = [argument for change in TINY for argument in ("--set", change)]


def commands_in(message: str) -> list[list[str]]:
    """Return the commands in backquotes, without `./run.sh`."""
    found = [shlex.split(text) for text in re.findall("`([^`]+)`", message)]
    assert all(first == "./run.sh" for first, *_ in found)
    return [command for _, *command in found]


METADATA = RunMetadata(table="ten", folds=[3, 4], split="0a1b", backend="tensorflow", keras="3.0")


def _finish_run(folder: Path, fold: int) -> RunDir:
    """Write the files of a finished run of `fast`, without networks."""
    run = run_dir(folder / "runs", read_recipe("fast"), fold)
    run.folder.mkdir(parents=True)
    run.scores.write_text("img,dice\n000000000001_01.jpg,0.9\n")
    run.write_metadata(METADATA)
    return run


@pytest.fixture
def workspace(rendered: Path, tmp_path: Path) -> Path:
    """A folder with data in `my cars`, and their fold table."""
    shutil.copytree(rendered, tmp_path / "my cars")
    output_of("split", "--data", "my cars", "--n-folds", 2, "--out", "folds/my cars-5.csv", cwd=tmp_path)
    return tmp_path


@pytest.mark.parametrize("step", ["predict", "export"])
def test_the_command_that_trains_has_the_options_of_the_one_that_failed(workspace: Path, step: str) -> None:
    shutil.copy(RECIPES / "miniature.toml", workspace / "mine.toml")
    given = ["--recipe", "mine.toml", "--fold", "1", "--runs", "other", "--set", "depth=2"]
    data = ["--data", "my cars"]
    message = error_of(step, *given, *(data if step == "predict" else []), cwd=workspace)
    assert message.startswith("error: other/mine/fold-1: not trained to its end; ")
    (*first, last) = commands_in(message)
    assert last[:3] == ["train", "--recipe", "mine.toml"]
    assert last[-6:] == given[2:]
    if step == "predict":
        assert first == []
        assert last[3:5] == data
    else:  # it has no data folder: the default one is not prepared
        assert first == [["prepare"], ["split"]]


def test_a_prediction_before_the_training_names_commands_that_work(workspace: Path) -> None:
    predict = ["predict", "--recipe", "miniature", "--data", "my cars", *CHANGES]
    (command,) = commands_in(error_of(*predict, cwd=workspace))
    output_of(*command, "--fold", 0, cwd=workspace)
    assert "fold-1: not trained to its end" in error_of(*predict, cwd=workspace)
    (again,) = commands_in(error_of(*predict, cwd=workspace))
    assert again == command
    output_of(*command, cwd=workspace)
    output_of(*predict, cwd=workspace)


def test_weights_without_the_scores_of_folds_name_the_command_that_trains_them(tmp_path: Path) -> None:
    run = run_dir(tmp_path / "other", read_recipe("fast"), None)
    run.folder.mkdir(parents=True)
    run.training_record.touch()
    given = ["--recipe", "fast", "--runs", "other", "--set", "tta=none"]
    message = error_of("export", *given, "--format", "weights", cwd=tmp_path)
    assert message.startswith("error: other/fast: no fold has scores, which the model card needs; ")
    *_, last = commands_in(message)
    assert last == ["train", *given]


def test_weights_without_a_run_on_all_cars_name_the_command_that_trains_it(tmp_path: Path) -> None:
    for fold in METADATA.folds:
        run = _finish_run(tmp_path, fold)
        write_recipe(read_recipe("fast"), run.recipe)
    (tmp_path / "runs").rename(tmp_path / "other")
    given = ["--runs", "other", "--set", "tta=none"]
    message = error_of("export", "--recipe", "fast", *given, "--format", "weights", cwd=tmp_path)
    assert message.startswith("error: other/fast/all: not trained; ")
    assert commands_in(message) == [["train", "--recipe", "fast", "--fold", "none", *given]]


def test_a_missing_or_incomplete_fold_table(workspace: Path) -> None:
    train = ["train", "--recipe", "miniature", "--data", "my cars", "--folds"]
    (command,) = commands_in(error_of(*train, "folds/new.csv", cwd=workspace))
    assert command == ["split", "--data", "my cars", "--out", "folds/new.csv"]
    table = workspace / "folds" / "my cars-5.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    (command,) = commands_in(error_of(*train, table, cwd=workspace))
    assert command == ["split", "--data", "my cars", "--out", str(table.with_name("my cars-5-2.csv"))]
    output_of(*command, "--n-folds", 2, cwd=workspace)


@pytest.mark.parametrize(
    "command",
    [
        ["prepare", "--data"],
        ["prepare", "--source", "folder", "--data"],
        ["train", "--recipe", "miniature", "--data"],
        ["split", "--data"],
        ["predict", "--blend", "maps=1", "--data"],
        ["submit", "x.csv.gz", "--board", "kaggle", "--data"],
        ["submit", "x.csv.gz", "--board", "local", "--data"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("wrong", ["sets/my cars/train", "sets/my cars/train_masks", "sets", "sets/typo"])
def test_a_folder_too_deep_or_too_high_is_recognized(workspace: Path, command: list[str], wrong: str) -> None:
    (workspace / "sets").mkdir()
    (workspace / "my cars").rename(workspace / "sets" / "my cars")
    (workspace / "maps").mkdir()
    message = error_of(*command, wrong, cwd=workspace)
    found = re.search("--data ('[^']+')", message)
    if wrong.endswith("typo"):
        assert not found
        assert "check the path" in message
    else:
        assert found[1] == "'sets/my cars'"
    assert "--data " + wrong + "`" not in message


def test_the_default_folder_is_prepared(tmp_path: Path) -> None:
    message = error_of("train", "--recipe", "miniature", cwd=tmp_path)
    assert message == "error: data/train: holds no photos (*.jpg); `./run.sh prepare` gets them\n"


def test_a_new_folder_is_filled_by_the_first_command_that_is_named(tmp_path: Path) -> None:
    *_, command = commands_in(error_of("train", "--recipe", "miniature", "--data", "new", cwd=tmp_path))
    output_of(*command, "--cars", 2, "--test-cars", 1, "--size", "48x32", cwd=tmp_path)
    assert (tmp_path / "new" / "train").is_dir()


def test_without_a_submission_the_command_that_predicts_is_named(tmp_path: Path) -> None:
    compare, submit = ["compare", "--data", "mine"], ["submit", "--data", "mine"]
    assert "`./run.sh`, which runs all steps, writes the first" in error_of(*compare, cwd=tmp_path)
    run = _finish_run(tmp_path, fold=3)
    predict = ["predict", "--recipe", "fast", "--data", "mine"]
    assert commands_in(error_of(*compare, cwd=tmp_path)) == [[*predict, "--fold", "3"]]
    assert "`./run.sh`, which runs all steps, writes one" in error_of(*submit, cwd=tmp_path)
    run.write_metadata(METADATA.model_copy(update={"folds": [3]}))
    assert commands_in(error_of(*compare, cwd=tmp_path)) == [predict]
    assert commands_in(error_of(*submit, cwd=tmp_path)) == [predict]


def test_the_fold_table_is_that_of_the_folds_that_are_trained(workspace: Path) -> None:
    predict = ["predict", "--recipe", "fast", "--data", "my cars"]
    _finish_run(workspace, fold=3)
    (workspace / "folds" / "ten.csv").touch()
    (command,) = commands_in(error_of(*predict, "--fold", 4, cwd=workspace))
    assert command == ["train", *predict[1:], "--folds", "folds/ten.csv", "--fold", "4"]


def test_submissions_of_the_folds_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "submissions").mkdir()
    message = error_of("submit", "submissions/fast.csv.gz", "--each-fold", cwd=tmp_path)
    assert "has no folds' submissions beside it; predict with --each-fold writes them" in message
