"""The work for Kaggle's machines as the scripts describe it: what is attached, what is refused, what is installed."""

import base64
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kaggle_stand_in import COMPLETE, KaggleStandIn, Session
from tests.scripts import error_of, output_of, run_script

from carvana.files import sha256_of_file
from carvana.kaggle import notebooks
from carvana.kaggle.job_inputs import attachments_of
from carvana.kaggle.push import Attachments
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import RunDir
from carvana.submission.ledger import COLUMNS, Ledger

TRAIN = ["train", "--recipe", "fast", "--folds", "folds/two.csv", "--on", "kaggle"]
PREDICT = ["predict", "--recipe", "fast", "--on", "kaggle", "--each-fold"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a table of two folds."""
    table = tmp_path / "folds" / "two.csv"
    table.parent.mkdir()
    table.write_text("car,fold\n00087a6bd4dc,0\n02159e548029,1\n")
    return tmp_path


def write_run(folder: Path, fold: int, kind: str = "kaggle") -> None:
    """Write the files of a finished run, whose network is only a text."""
    run = RunDir(folder / "fast" / f"fold-{fold}")
    run.folder.mkdir(parents=True)
    run.model.write_text(f"{kind} fold {fold}")
    run.refiner.write_text(f"{kind} refiner {fold}")
    write_recipe(read_recipe("fast"), run.recipe)
    metadata = {"table": "two", "folds": [0, 1], "split": "s", "backend": "tensorflow", "keras": "3.15.1"}
    run.metadata.write_text(json.dumps(metadata))
    run.scores.write_text(f"img,dice\n00087a6bd4dc_01.jpg,0.9{fold}\n")


def settings_of(session: Session) -> dict:
    """The settings in a pushed script."""
    text = session.body["text"].split('ARCHIVE = """')[1].split('"""')[0]
    with tarfile.open(
        fileobj=io.BytesIO(lzma.decompress(base64.b85decode("".join(text.split()))))
    ) as archive:
        return json.load(archive.extractfile("settings.json"))


def end_with(write: Callable[[Path, dict], None]) -> Callable[[Session], None]:
    """Return a runner that writes results, with their manifest, instead of running the script."""

    def run(session: Session) -> None:
        settings = settings_of(session)
        write(session.output, settings)
        paths = [path for path in sorted(session.output.rglob("*")) if path.is_file()]
        files = {
            path.relative_to(session.output).as_posix(): {
                "size": path.stat().st_size,
                "sha256": sha256_of_file(path),
            }
            for path in paths
        }
        manifest = {"format": 1, "key": settings["key"], "bundle": "b", "finished": True, "machine": "T4"}
        manifest |= {"failure": ""}
        (session.output / "manifest.json").write_text(json.dumps(manifest | {"files": files, "state": {}}))
        session.end(COMPLETE)

    return run


@end_with
def trained(output: Path, settings: dict) -> None:
    for fold in settings["folds"]:
        write_run(output / "runs", fold)


@end_with
def predicted(output: Path, settings: dict) -> None:
    folder = output / "submissions"
    folder.mkdir()
    rows = []
    for fold in ("all", "0", "1"):
        name = "fast.csv.gz" if fold == "all" else f"fast-fold{fold}.csv.gz"
        (folder / name).write_text(f"masks of {fold}")
        digest = hashlib.sha256(f"masks of {fold}".encode()).hexdigest()
        known = {"submission": name, "recipe": "fast", "fold": fold, "cv_dice": "0.900000", "sha256": digest}
        rows.append(",".join(known.get(column, "") for column in COLUMNS))
    (folder / "ledger.csv").write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    (folder / "fast-prediction.json").write_text("{}")
    (folder / "fast-checks.csv").write_text("img\n")
    (output / "data").mkdir()
    (output / "data" / "sample_submission.csv").write_text("img,rle_mask\n")


@end_with
def malicious(output: Path, settings: dict) -> None:
    (output / "submissions" / "x").mkdir(parents=True)
    (output / "submissions" / "x" / "ledger.csv").write_text("replaces the ledger")


def sessions_of(kaggle: KaggleStandIn, step: str) -> list[Session]:
    """All sessions of a step."""
    return [
        session for ref, found in kaggle.kernels.kernels.items() if f"-{step}-" in ref for session in found
    ]


def only(kaggle: KaggleStandIn, step: str) -> Session:
    """The only session of a step."""
    (session,) = sessions_of(kaggle, step)
    return session


def test_training_and_prediction(signed_in: KaggleStandIn, here: Path) -> None:
    signed_in.kernels.run = trained
    text = output_of(*TRAIN, cwd=here)
    assert "fold 0: fetched to runs/fast/fold-0" in text
    assert (here / "runs/fast/fold-1/model.keras").read_text() == "kaggle fold 1"
    signed_in.kernels.run = predicted
    text = output_of(*PREDICT, cwd=here)
    assert text.count("│ submissions/fast") == 3
    assert (here / "submissions" / "fast-fold1.csv.gz").read_text() == "masks of 1"
    assert (here / "data" / "sample_submission.csv").exists()
    session = only(signed_in, "predict")
    assert session.body["kernelDataSources"] == [
        next(ref for ref in signed_in.kernels.kernels if "-train-" in ref)
    ]
    settings = settings_of(session)
    assert settings["networks"]["fast/fold-0/model.keras"] == hashlib.sha256(b"kaggle fold 0").hexdigest()
    assert len(settings["networks"]) == 4
    assert settings["parts"] == ["test", "sample_submission.csv"]
    assert settings["arguments"] == ["--each-fold"]


def test_the_commit_in_the_ledger_is_that_of_the_push(
    signed_in: KaggleStandIn, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in.kernels.run = trained
    output_of(*TRAIN, cwd=here)
    signed_in.kernels.run = predicted
    monkeypatch.setattr(notebooks, "git_commit", lambda: "pushed")
    output_of(*PREDICT, "--detach", cwd=here)
    monkeypatch.setattr(notebooks, "git_commit", lambda: "fetching")
    output_of(*PREDICT, cwd=here)
    assert {row["commit"] for row in Ledger(here / "submissions" / "ledger.csv").rows()} == {"pushed"}


def test_a_row_of_the_ledger_that_was_deleted_is_fetched_again(signed_in: KaggleStandIn, here: Path) -> None:
    for run in (trained, predicted):
        signed_in.kernels.run = run
        output_of(*(TRAIN if run is trained else PREDICT), cwd=here)
    assert "predicted already" in output_of(*PREDICT, cwd=here)
    ledger = here / "submissions" / "ledger.csv"
    *rows, _ = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(rows))
    assert output_of(*PREDICT, cwd=here).count("│ submissions/fast") == 3
    assert len(sessions_of(signed_in, "predict")) == 1
    ledger.unlink()
    assert output_of(*PREDICT, cwd=here).count("│ submissions/fast") == 3


def test_a_fresh_prediction_is_pushed_again(signed_in: KaggleStandIn, here: Path) -> None:
    signed_in.kernels.run = trained
    output_of(*TRAIN, cwd=here)
    signed_in.kernels.run = predicted
    output_of(*PREDICT, cwd=here)
    output_of(*PREDICT, "--fresh", "--detach", cwd=here)
    output_of(*PREDICT, "--fresh", cwd=here)
    assert len(sessions_of(signed_in, "predict")) == 2
    assert "predicted already" in output_of(*PREDICT, cwd=here)


def test_a_prediction_beside_rendered_photos(signed_in: KaggleStandIn, here: Path) -> None:
    for fold in (0, 1):
        write_run(here / "runs", fold)
    (here / "data").mkdir()
    for name in ("test_masks.csv", "sample_submission.csv"):
        (here / "data" / name).touch()
    message = error_of(*PREDICT, cwd=here)
    assert "data: holds rendered photos; give --data another/folder to predict and submit" in message
    assert signed_in.requests == []


def test_a_prediction_whose_output_holds_something_else(signed_in: KaggleStandIn, here: Path) -> None:
    signed_in.kernels.run = trained
    output_of(*TRAIN, cwd=here)
    signed_in.kernels.run = malicious
    message = error_of(*PREDICT, cwd=here)
    assert "the output has submissions/x/ledger.csv, which is no result of this command" in message
    assert not (here / "submissions").exists()


def test_the_settings_of_a_training(signed_in: KaggleStandIn, here: Path) -> None:
    signed_in.kernels.run = trained
    output_of(
        *TRAIN, "--fold", 1, "--set", "seed=3", "--hours", 1.5, "--offline", "--runs", "elsewhere", cwd=here
    )
    session = only(signed_in, "train")
    settings = settings_of(session)
    assert (settings["folds"], settings["fold_argument"], settings["changes"]) == ([1], "1", ["seed=3"])
    assert (settings["offline"], settings["hours"], settings["encoder"]) == (True, 1.5, False)
    assert (session.body["enableInternet"], session.body["sessionTimeoutSeconds"]) == (False, 5_400)
    assert (here / "elsewhere" / "fast" / "fold-1" / "scores.csv").exists()


def test_commands_that_differ_are_different_notebooks(signed_in: KaggleStandIn, here: Path) -> None:
    signed_in.kernels.run = trained
    for fold in (0, 1):
        output_of(*TRAIN, "--fold", fold, cwd=here)
    output_of(*TRAIN, "--set", "seed=3", "--runs", "other", cwd=here)
    assert [len(found) for found in signed_in.kernels.kernels.values()] == [1, 1, 1]


def test_the_default_fold_table_is_the_projects(signed_in: KaggleStandIn, here: Path) -> None:
    signed_in.kernels.run = trained
    output_of("train", "--recipe", "fast", "--on", "kaggle", "--fold", 4, cwd=here)
    assert settings_of(only(signed_in, "train"))["table"] == "folds/carvana-5.csv"


def test_several_folds_are_one_notebook(signed_in: KaggleStandIn, here: Path) -> None:
    (here / "folds" / "two.csv").write_text("car,fold\n00087a6bd4dc,0\n02159e548029,1\n0495dcf27283,2\n")
    signed_in.kernels.run = trained
    text = output_of(*TRAIN, "--fold", 2, "--fold", 0, "--fold", 2, cwd=here)
    assert "fold 0: fetched" in text
    assert "fold 2: fetched" in text
    settings = settings_of(only(signed_in, "train"))
    assert (settings["folds"], settings["fold_argument"]) == ([0, 2], "0,2")


def test_a_fold_that_was_trained_here_is_never_replaced(signed_in: KaggleStandIn, here: Path) -> None:
    write_run(here / "runs", 0, "home")
    message = error_of(*TRAIN, cwd=here)
    assert (
        "runs/fast/fold-0: trained already, but not by this notebook; `./run.sh train --recipe fast --fold 1"
        " --folds folds/two.csv --on kaggle` trains the other folds" in message
    )
    signed_in.kernels.run = trained
    output_of(*TRAIN, "--fold", 1, cwd=here)
    assert "fold 0: trained already" in output_of(*TRAIN, "--fold", 0, cwd=here)
    assert (here / "runs/fast/fold-0/model.keras").read_text() == "home fold 0"
    assert len(signed_in.kernels.kernels) == 1


def test_a_fold_that_is_trained_here_meanwhile_is_kept(signed_in: KaggleStandIn, here: Path) -> None:
    def train_at_both(session: Session) -> None:
        write_run(here / "runs", 0, "home")
        trained(session)

    signed_in.kernels.run = train_at_both
    assert "fold 0: was trained on this machine meanwhile, in runs/fast/fold-0" in output_of(*TRAIN, cwd=here)
    assert (here / "runs/fast/fold-0/model.keras").read_text() == "home fold 0"
    assert (here / "runs/fast/fold-1/model.keras").read_text() == "kaggle fold 1"


def test_fresh_replaces_what_was_trained(signed_in: KaggleStandIn, here: Path) -> None:
    write_run(here / "runs", 0, "home")
    (here / "runs/fast/fold-0/left-over.txt").touch()
    signed_in.kernels.run = trained
    output_of(*TRAIN, "--fresh", cwd=here)
    assert (here / "runs/fast/fold-0/model.keras").read_text() == "kaggle fold 0"
    assert not (here / "runs/fast/fold-0/left-over.txt").exists()


@pytest.mark.parametrize("again", [["--fresh"], []])
def test_the_detached_result_of_fresh_is_fetched(
    signed_in: KaggleStandIn, here: Path, again: list[str]
) -> None:
    for fold in (0, 1):
        write_run(here / "runs", fold, "home")
    signed_in.kernels.run = trained
    output_of(*TRAIN, "--fresh", "--detach", cwd=here)
    output_of(*TRAIN, *again, cwd=here)
    assert (here / "runs/fast/fold-0/model.keras").read_text() == "kaggle fold 0"
    assert len(sessions_of(signed_in, "train")) == 1
    assert "fold 0: trained already" in output_of(*TRAIN, cwd=here)


def test_networks_that_kaggle_has_no_copy_of(signed_in: KaggleStandIn, here: Path) -> None:
    for fold in (0, 1):
        write_run(here / "runs", fold, "home")
    message = error_of(*PREDICT, cwd=here)
    assert "fast/fold-0/model.keras" in message
    assert "not trained by --on kaggle, so Kaggle has no copy; upload runs as a private dataset" in message
    signed_in.kernels.run = predicted
    signed_in.kernels.datasets["someone/my-runs"] = here / "runs"
    output_of(*PREDICT, "--attach", "someone/my-runs", cwd=here)
    assert only(signed_in, "predict").body["datasetDataSources"] == ["someone/my-runs"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([*TRAIN, "--fold", 7], 1, "fold 7: not in folds/two.csv, which has 0, 1"),
        ([*TRAIN, "--recipe", "baseline"], 2, "--on kaggle takes one --recipe"),
        ([*TRAIN, "--cluster", "local:2"], 2, "none of --data, --cluster, --gpus and --init"),
        ([*TRAIN, "--data", "data"], 2, "none of --data, --cluster, --gpus and --init"),
        ([*TRAIN, "--fold", "none"], 2, "--fold none cannot be combined with --on kaggle"),
        ([*TRAIN, "--fold", "none", "--dry-run"], 2, "--fold none cannot be combined with --on kaggle"),
        ([*TRAIN, "--logger", "wandb"], 2, "--on kaggle cannot be used with --logger wandb"),
        ([*TRAIN, "--hours", 13], 2, "--hours"),
        ([*TRAIN, "--hours", 0.4], 2, "greater than or equal to 0.5"),
        ([*TRAIN, "--attach", "wheels"], 2, "--attach wheels: expected OWNER/NAME"),
        ([*TRAIN[:-2], "--dry-run"], 2, "--attach require --on kaggle"),
        ([*PREDICT[:3], "--data", "data", "--hours", 1], 2, "--attach require --on kaggle"),
        ([*PREDICT[:3], "--data", "data", "--fresh"], 2, "--fresh requires --on kaggle"),
        ([*PREDICT, "--images", "*.jpg", "--cutouts", "cut"], 2, "--on kaggle takes --recipe"),
        (PREDICT, 1, "runs/fast: not trained"),
    ],
)
def test_refused_commands(
    signed_in: KaggleStandIn, here: Path, arguments: list[object], status: int, message: str
) -> None:
    result = run_script(*arguments, cwd=here)
    assert result.status == status
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert signed_in.requests == []


WEIGHTS = 'model={encoder="resnet34",weights="%s",sha256="' + "0" * 64 + '"}'


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/kaggle/input/datasets/someone/resnet34/weights.h5", Attachments(datasets=["someone/resnet34"])),
        (
            "/kaggle/input/models/someone/resnet/keras/34/2/weights.h5",
            Attachments(models=["someone/resnet/keras/34/2"]),
        ),
    ],
)
def test_the_weights_of_an_encoder_are_attached(path: str, expected: Attachments) -> None:
    recipe = read_recipe("resnet34", [WEIGHTS % path])
    found = attachments_of(recipe, [], offline=True)
    assert (list(found.datasets), list(found.models)) == (list(expected.datasets), list(expected.models))


def test_weights_that_are_not_on_kaggle(signed_in: KaggleStandIn, here: Path) -> None:
    train = ["train", "--recipe", "resnet34", "--folds", "folds/two.csv", "--on", "kaggle"]
    message = error_of(*train, "--set", WEIGHTS % "/home/someone/weights.h5", cwd=here)
    assert "model.weights /home/someone/weights.h5: is not on Kaggle; upload it as a dataset" in message
    message = error_of(*train, "--offline", cwd=here)
    assert '--offline: weights = "imagenet" are downloaded; attach a dataset' in message
    assert signed_in.requests == []
