"""The scripts, end to end. Most are called in this process: it saves the seconds that TensorFlow needs to start."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carvana.competition import rle
from carvana.data import images
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.data.dataset import train_samples

from .kaggle_stand_in import KaggleStandIn
from .scripts import (
    error_of,
    output_of,
    result_of,
    run_script,
    start_script,
    successful_output,
    wait_until,
)

SCRIPTS = ["prepare", "split", "train", "predict", "score", "submit", "compare", "study", "export", "page"]
STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]"
SMALL = ["--set", "base_filters=4", "--set", "depth=1", "--set", STAGE]
TRAIN = ["train", "--recipe", "miniature", "--data", "data", "--folds", "folds/data-2.csv"]
PREDICT = ["predict", "--recipe", "miniature", "--data", "data", *SMALL]


def cpu_seconds(script: str, *arguments: object, cwd: Path) -> tuple[str, float]:
    """Run a script as a process of its own; return its output and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = successful_output(result_of(start_script(script, *arguments, cwd=cwd)))
    return text, cpu_seconds_since(before)


def cpu_seconds_since(before: resource.struct_rusage) -> float:
    """Return the CPU seconds of processes that were started and have ended since then."""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every step was run once, on two folds. Tests only read it."""
    cwd = tmp_path_factory.mktemp("finished")
    output_of("prepare", "--source", "turntable", "--cars", 4, "--test-cars", 3, "--size", "96x64", cwd=cwd)
    output_of("split", "--data", "data", "--n-folds", 2, cwd=cwd)
    output_of(*TRAIN, *SMALL, cwd=cwd)
    output_of(*PREDICT, "--each-fold", cwd=cwd)
    output_of("submit", "--each-fold", "--board", "local", cwd=cwd)
    return cwd


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the folder in which every step was run once; a test may change it."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


def test_the_comparison_has_a_row_per_fold_and_one_for_the_ensemble(finished: Path) -> None:
    text = output_of("compare", cwd=finished)
    rows = [re.split(r"\s*│\s*", line.strip("│ ")) for line in text.splitlines() if ".csv.gz" in line]
    assert [row[1] for row in rows] == ["0", "1", "all"]
    for row in rows:
        cv, private, gap = float(row[2]), float(row[5]), float(row[6])
        assert gap == pytest.approx(private - cv, abs=2e-6)
        assert row[7] == "local"


def test_the_report_holds_the_ledger_and_the_worst_photos_of_each_run(workspace: Path) -> None:
    options = ["--html", "submissions/report.html", "--data", "data", "--worst", 2]
    text = output_of("compare", *options, cwd=workspace)
    assert "submissions/report.html: written" in text
    page = (workspace / "submissions" / "report.html").read_text()
    for row in pd.read_csv(workspace / "submissions" / "ledger.csv", dtype=str).itertuples():
        assert f">{row.private}</td>" in page
    assert page.count('<figure class="card" data-recipe="miniature"') == 2 * 2
    listed = pd.read_csv(workspace / "submissions" / "miniature-checks.csv")
    assert page.count('<figure class="card" data-submission="miniature.csv.gz"') == len(listed) > 0


def test_the_scores_in_the_ledger_are_those_of_score(finished: Path) -> None:
    ledger = pd.read_csv(finished / "submissions" / "ledger.csv")
    row = ledger[ledger["fold"] == "all"].iloc[0]
    text = output_of("score", "submissions/miniature.csv.gz", "--truth", "data/test_masks.csv", cwd=finished)
    assert re.search(rf"│ public +│ {row['public']:.6f} │", text)
    assert re.search(rf"│ private +│ {row['private']:.6f} │", text)
    scores = pd.concat(pd.read_csv(path) for path in finished.glob("runs/miniature/fold-*/scores.csv"))
    assert row["cv_dice"] == pytest.approx(scores["dice"].mean(), abs=1e-6)
    assert row["cv_low"] <= row["cv_dice"] <= row["cv_high"]


def test_the_truth_scores_one(finished: Path, tmp_path: Path) -> None:
    truth = pd.read_csv(finished / "data" / "test_masks.csv")
    truth[["img", "rle_mask"]].to_csv(tmp_path / "perfect.csv", index=False)
    text = output_of("score", tmp_path / "perfect.csv", "--truth", "data/test_masks.csv", cwd=finished)
    assert text.count("1.000000 .. 1.000000") == 3


def test_finished_work_is_not_repeated(workspace: Path) -> None:
    files = [
        *workspace.glob("runs/**/[!.]*.*"),  # lock files are rewritten
        *workspace.glob("submissions/*.gz"),
        *workspace.glob("folds/*"),
        *workspace.glob("data/*/*"),
    ]
    written = {path: path.stat().st_mtime_ns for path in files}
    output_of("prepare", cwd=workspace)
    output_of("split", "--data", "data", "--n-folds", 2, cwd=workspace)
    text = output_of(*TRAIN, *SMALL, cwd=workspace)
    assert text.startswith("data: 64 photos; folds 0, 1 of folds/data-2.csv\n")
    assert text.count("trained already") == 2
    assert output_of(*TRAIN, *SMALL, "--fold", 1, "--fold", 0, cwd=workspace).count("trained already") == 2
    assert output_of(*PREDICT, "--each-fold", cwd=workspace).count("predicted already") == 3
    assert {path: path.stat().st_mtime_ns for path in files} == written


def test_rows_are_in_the_order_of_the_sample_submission(finished: Path) -> None:
    sample = pd.read_csv(finished / "data" / "sample_submission.csv")
    for name in ("miniature", "miniature-fold0", "miniature-fold1"):
        assert pd.read_csv(finished / "submissions" / f"{name}.csv.gz")["img"].equals(sample["img"])


def test_a_killed_training_continues(workspace: Path) -> None:
    stages = STAGE.replace("epochs=1", "epochs=20")
    options = [*TRAIN, *SMALL, "--set", stages, "--fold", 0, "--runs", "killed"]
    process = start_script(*options, cwd=workspace)
    history = workspace / "killed" / "miniature" / "fold-0" / "history.csv"
    wait_until(history.exists, process)
    process.kill()
    assert result_of(process).status == -signal.SIGKILL
    before = pd.read_csv(history)
    text = output_of(*options, cwd=workspace)
    assert "fold 0: resumes after epoch" in text
    after = pd.read_csv(history)
    assert after["epoch"].tolist() == list(range(1, 21))
    pd.testing.assert_frame_equal(after[: len(before)], before)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT end processes started from here; those of tests that run in the background would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_is_one_line(workspace: Path) -> None:
    process = start_script(*TRAIN, "--runs", "stopped", cwd=workspace)
    wait_until((workspace / "stopped" / "miniature" / "fold-0" / "metadata.json").exists, process)
    process.send_signal(signal.SIGINT)
    result = result_of(process)
    assert (result.status, result.stderr) == (
        130,
        "stopped; what is finished is kept, and the same command continues from there\n",
    )


def test_weights_of_all_cars_are_trained_exported_and_predict(workspace: Path) -> None:
    text = output_of(*TRAIN, *SMALL, "--fold", "none", cwd=workspace)
    assert "trained on all 4 cars" in text
    assert re.search(
        r"has no score of its own.*estimates it: 0\.\d{6} \(95% interval .*64 photos of 2 folds\)", text
    )
    output_of(
        "export", "--recipe", "miniature", *SMALL, "--format", "weights", "--out", "weights", cwd=workspace
    )
    assert "# Weights `miniature`" in (workspace / "weights" / "miniature" / "README.md").read_text()
    predict = ["predict", "--weights", "weights/miniature"]
    text = output_of(*predict, "--images", "data/test", "--cutouts", "cutouts", cwd=workspace)
    assert "48 photos cut out to cutouts" in text
    output_of(*predict, "--data", "data", cwd=workspace)
    ledger = pd.read_csv(workspace / "submissions" / "ledger.csv").set_index("submission")
    row = ledger.loc["miniature-weights.csv.gz"]
    assert row[["recipe", "folds", "fold"]].tolist() == ["miniature-weights", "data-2", "all"]
    assert pd.isna(row["cv_dice"])
    text = error_of(*predict, "--data", "data", "--threshold", "auto", cwd=workspace)
    assert "miniature-weights: was trained on all photos and has no held-out ones" in text


def test_another_threshold_is_another_submission(workspace: Path) -> None:
    options = ["--fold", 1, "--threshold", 0.9, "--tta", "none", "--out", "submissions/strict.csv.gz"]
    output_of(*PREDICT, *options, cwd=workspace)
    ledger = pd.read_csv(workspace / "submissions" / "ledger.csv").set_index("submission")
    assert ledger.loc["strict.csv.gz", ["fold", "tta", "threshold"]].tolist() == ["1", "none", 0.9]
    assert pd.isna(
        ledger.loc["strict.csv.gz", "cv_dice"]
    )  # the CV was measured with another threshold and TTA


def test_another_engine_predicts_again(workspace: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    options = [*PREDICT, "--each-fold", "--engine", "openvino"]
    text = output_of(*options, cwd=workspace)
    assert "predicted already" not in text
    assert "engine openvino-float32" in text
    assert output_of(*options, cwd=workspace).count("predicted already") == 3
    ledger = pd.read_csv(workspace / "submissions" / "ledger.csv", dtype=str)
    assert "openvino-float32" in set(ledger["engine"])


def test_networks_that_were_replaced_predict_again(workspace: Path) -> None:
    """The networks of two folds are exchanged, with file times before those of the submission."""
    before = pd.read_csv(workspace / "submissions" / "miniature-fold0.csv.gz")
    models = [workspace / "runs" / "miniature" / f"fold-{fold}" / "model.keras" for fold in (0, 1)]
    contents = [model.read_bytes() for model in models]
    for model, content in zip(models, reversed(contents), strict=True):
        model.write_bytes(content)
        os.utime(model, (0, 0))
    assert "predicted already" not in output_of(*PREDICT, "--each-fold", cwd=workspace)
    assert not pd.read_csv(workspace / "submissions" / "miniature-fold0.csv.gz").equals(before)
    assert pd.read_csv(workspace / "submissions" / "miniature-fold1.csv.gz").equals(before)
    assert output_of(*PREDICT, "--each-fold", cwd=workspace).count("predicted already") == 3


def test_saved_maps_are_blended_with_networks(workspace: Path) -> None:
    """A blend of a recipe with its own maps equals the recipe, up to the 8 bits of the maps."""
    output_of(*PREDICT, "--keep-maps", "--out", "submissions/kept.csv.gz", cwd=workspace)
    sample = pd.read_csv(workspace / "data" / "sample_submission.csv")["img"]
    saved = sorted(path.stem for path in (workspace / "submissions" / "kept-maps").iterdir())
    assert saved == sorted(sample.str.removesuffix(".jpg"))
    blend = ["predict", "--data", "data", *SMALL, "--blend"]
    output_of(*blend, "miniature=0.3,submissions/kept-maps=0.7", cwd=workspace)
    path = workspace / "submissions" / "miniature=0.3+kept-maps=0.7.csv.gz"
    blended, alone = (
        pd.read_csv(file, keep_default_na=False) for file in (path, workspace / "submissions/kept.csv.gz")
    )
    assert blended["img"].equals(alone["img"])
    for img, *masks in zip(blended["img"], blended["rle_mask"], alone["rle_mask"], strict=True):
        with Image.open(
            workspace / "submissions" / "kept-maps" / f"{img.removesuffix('.jpg')}.png"
        ) as levels:
            probabilities = images.resize(np.asarray(levels, np.float32) / 255, (64, 96))
        certain = np.abs(probabilities - 0.5) > 1 / 255
        first, second = (rle.decode(mask, (64, 96)) for mask in masks)
        assert np.array_equal(first[certain], second[certain])
    row = pd.read_csv(workspace / "submissions" / "ledger.csv").set_index("submission").loc[path.name]
    assert row[["recipe", "fold", "tta"]].tolist() == ["miniature=0.3,kept-maps=0.7", "all", "flip+kept"]
    message = error_of(*blend, "miniature=1,submissions/kept-maps=1", "--threshold", "auto", cwd=workspace)
    assert "give --threshold a number" in message


def test_suspect_masks_are_listed(workspace: Path) -> None:
    text = output_of(*PREDICT, "--tta", "scales", "--out", "submissions/scales.csv.gz", cwd=workspace)
    assert "submissions/scales-checks.csv: the 48 photos to look at" in text
    listed = pd.read_csv(workspace / "submissions" / "scales-checks.csv")
    assert set(listed["img"]) <= set(pd.read_csv(workspace / "data" / "sample_submission.csv")["img"])


def test_the_threshold_is_tuned_on_out_of_fold_photos(workspace: Path) -> None:
    options = ["--threshold", "auto", "--out", "submissions/auto.csv.gz"]
    text = output_of(*PREDICT, *options, cwd=workspace)
    assert "Threshold, out of fold" in text
    row = pd.read_csv(workspace / "submissions" / "ledger.csv").set_index("submission").loc["auto.csv.gz"]
    assert 0 < row["threshold"] < 1
    trained = pd.concat(pd.read_csv(path) for path in workspace.glob("runs/miniature/fold-*/scores.csv"))
    if row["threshold"] == 0.5:
        assert row["cv_dice"] == pytest.approx(trained["dice"].mean(), abs=1e-3)
    else:
        assert row["cv_dice"] > trained["dice"].mean()
    curves = list(workspace.glob("runs/miniature/fold-*/curves-*.npz"))
    assert len(curves) == 2
    again = output_of(*PREDICT, *options, cwd=workspace)
    assert "predicted already" in again
    assert "out of fold, fold" not in again


def test_cars_are_cut_out_of_any_photos(workspace: Path, tmp_path: Path) -> None:
    photo, folder = photos_to_predict(workspace / "data")[0].path, tmp_path / "photos"
    folder.mkdir()
    with Image.open(photo) as image:
        image.rotate(90, expand=True).save(folder / "portrait.png")
    options = ["predict", "--recipe", "miniature", *SMALL, "--images", folder]
    text = output_of(*options, "--cutouts", "cutouts", cwd=workspace)
    assert "1 photo cut out to cutouts" in text
    with Image.open(workspace / "cutouts" / "portrait.png") as cutout:
        assert (cutout.mode, cutout.size) == ("RGBA", (64, 96))
    with Image.open(workspace / "cutouts" / "portrait_mask.png") as mask:
        assert (mask.mode, mask.size) == ("L", (64, 96))
    again = output_of(*options, "--cutouts", "cutouts", cwd=workspace)
    assert "cutouts: has 1 of 1 photo already" in again
    assert output_of(*options, cwd=workspace) == again  # `cutouts` is the default


def test_an_ensemble_is_exported_without_notes_of_libraries(workspace: Path) -> None:
    process = start_script("export", "--recipe", "miniature", *SMALL, cwd=workspace)
    text = successful_output(result_of(process))
    assert "exports/miniature.onnx: 2 networks, tta flip, photos of 48x32" in text
    assert (workspace / "exports" / "miniature" / "saved_model.pb").exists()
    assert (workspace / "exports" / "miniature.py").exists()
    message = error_of("export", "--recipe", "miniature", *SMALL, "--set", "tta=scales", cwd=workspace)
    assert "takes photos of one size" in message


def test_an_export_replaces_its_own_files_only(workspace: Path) -> None:
    script = workspace / "exports" / "miniature.py"
    script.parent.mkdir()
    script.write_text("print('mine')")
    export = ["export", "--recipe", "miniature", *SMALL, "--format", "onnx"]
    message = error_of(*export, cwd=workspace)
    assert message.startswith("error: exports/miniature.py: exists, and was not written by `export`")
    assert list(script.parent.iterdir()) == [script]
    script.unlink()
    for _ in range(2):
        output_of(*export, cwd=workspace)
    model = script.with_suffix(".onnx")
    model.write_bytes(b"mine")
    assert "exports/miniature.onnx: exists" in error_of(*export, cwd=workspace)
    assert model.read_bytes() == b"mine"


def test_a_study_compares_recipes_and_continues(workspace: Path) -> None:
    (workspace / "wide.toml").write_text(
        f'title = "Wider"\nbaseline = "miniature"\ncommon = ["depth=1", "{STAGE}", "refine=none"]\n'
        '[recipes]\nminiature = ["base_filters=2"]\nfast = ["base_filters=4"]\n'
    )
    options = ["study", "--study", "wide.toml", "--data", "data", "--folds", "folds/data-2.csv"]
    text = output_of(*options, cwd=workspace)
    page = (workspace / "wide.md").read_text()
    assert "| fast | 0." in page
    assert (workspace / "wide.png").exists()
    assert "trained already" not in text
    assert output_of(*options, cwd=workspace).count("trained already") == 2
    assert (workspace / "wide.md").read_text() == page
    (workspace / "wide.md").write_text("# My notes\n")
    shutil.rmtree(workspace / "runs" / "studies")
    message = error_of(*options, cwd=workspace)
    assert message.startswith("error: wide.md: exists, and was not written for wide.toml")
    assert (workspace / "wide.md").read_text() == "# My notes\n"
    assert not (workspace / "runs" / "studies").exists()


def test_bad_input_is_one_line(finished: Path, data: Path, tmp_path: Path) -> None:
    folds = finished / "folds" / "data-2.csv"
    train = ["--recipe", "miniature", "--data", finished / "data", "--folds", folds]
    assert "fold 9: not in the fold table" in error_of("train", *train, "--fold", 9, *SMALL, cwd=tmp_path)
    assert "unknown key 'widht'" in error_of("train", *train, "--set", "widht=3", cwd=tmp_path)
    assert "mine: no such recipe" in error_of("predict", "--recipe", "mine", "--data", data, cwd=tmp_path)
    assert "not trained" in error_of("predict", "--recipe", "miniature", "--data", data, cwd=tmp_path)
    other = error_of("predict", "--recipe", "miniature", "--data", "data", cwd=finished)
    assert "trained with another recipe; it differs in base_filters (4, 8)" in other
    assert "lacks 4 cars of the data" in error_of("train", *train[:3], data, *train[4:], cwd=tmp_path)
    assert "holds no submission yet" in error_of("compare", cwd=tmp_path)
    assert "no such file" in error_of("score", "none.csv", "--truth", data / "test_masks.csv", cwd=tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    assert "holds no photos" in error_of("prepare", "--data", "full", cwd=tmp_path)
    assert "expected WIDTHxHEIGHT" in error_of("prepare", "--size", "big", cwd=tmp_path)
    assert "typo: holds no photos; check the path, or choose" in error_of(
        "prepare", "--data", "typo", cwd=tmp_path
    )
    assert not (tmp_path / "typo").exists()
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "submissions").exists()


def test_broken_images_stop_training_with_their_name(data: Path, tmp_path: Path) -> None:
    photo = train_samples(data)[20]
    photo.path.write_bytes(photo.path.read_bytes()[:900])
    output_of("split", "--data", data, "--n-folds", 2, cwd=tmp_path)
    train = ["--recipe", "miniature", "--data", data, "--folds", "folds/data-2.csv", *SMALL]
    assert f"{photo.name}: not a whole JPEG" in error_of("train", *train, cwd=tmp_path)
    assert list(tmp_path.glob("runs/**/*.keras")) == []


def test_a_broken_photo_leaves_no_half_submission(workspace: Path, data: Path) -> None:
    photo = photos_to_predict(data)[-1]
    photo.path.write_bytes(photo.path.read_bytes()[:900])
    before = sorted(workspace.glob("submissions/[!.]*"))
    options = ["--recipe", "miniature", "--data", data, "--out", "submissions/broken.csv.gz", *SMALL]
    assert f"{photo.name}: not a whole JPEG" in error_of("predict", *options, cwd=workspace)
    assert sorted(workspace.glob("submissions/[!.]*")) == before


def test_wrong_arguments_exit_2(tmp_path: Path) -> None:
    assert run_script("train", cwd=tmp_path).status == 2
    assert run_script("prepare", "--source", "moon", cwd=tmp_path).status == 2


def test_without_anything_the_turntable_renders(kaggle: KaggleStandIn, tmp_path: Path) -> None:
    text = output_of("prepare", "--cars", 2, "--test-cars", 1, "--size", "48x32", cwd=tmp_path)
    assert "Not from Kaggle: no Kaggle credentials; make a token at" in text
    assert "data: holds no images yet; the turntable renders" in text
    assert kaggle.requests == []


def test_a_folder_without_zips_starts_no_rendering(kaggle: KaggleStandIn, tmp_path: Path) -> None:
    text = error_of("prepare", "--zips", "typo", cwd=tmp_path)
    assert text.startswith(
        "error: --zips typo: holds none of the files that data lacks: train.zip, train_masks.zip"
    )
    assert not (tmp_path / "data").exists()


def test_with_credentials_an_empty_folder_is_filled_by_kaggle(
    signed_in: KaggleStandIn, zips: Path, tmp_path: Path
) -> None:
    signed_in.files = {path.name: path.read_bytes() for path in zips.iterdir()}
    text = output_of("prepare", "--keep-zips", cwd=tmp_path)
    assert re.search(r"│ train │ +4 │ +64 │ 96x64 │", text)
    assert (tmp_path / "data" / "test.zip").exists()
    signed_in.requests.clear()
    output_of("prepare", "--no-keep-zips", cwd=tmp_path)
    assert signed_in.requests == []
    assert output_of("prepare", "--data", "other", "--zips", zips, cwd=tmp_path).count("unpack") == 6
    assert "is not a folder" in error_of("prepare", "--data", "data/metadata.csv", cwd=tmp_path)


def test_folds_on_kaggle_end_in_the_same_table(
    finished: Path, signed_in: KaggleStandIn, tmp_path: Path
) -> None:
    signed_in.truth = finished / "data" / "test_masks.csv"
    shutil.copytree(finished / "submissions", tmp_path / "submissions")
    submit = ["submit", "submissions/miniature.csv.gz", "--each-fold", "--data", finished / "data"]
    submit += ["--board", "kaggle"]
    text = output_of(*submit, "--dry-run", cwd=tmp_path)
    assert text.count("in order, 48 photos; would go to the kaggle") == 3
    assert signed_in.requests == []
    signed_in.pending_for = 1_000
    assert output_of(*submit, "--wait", 0, cwd=tmp_path).count("not scored yet") == 3
    signed_in.pending_for = 0
    text = output_of("compare", "--refresh", cwd=tmp_path)
    assert "3 rows updated with scores from Kaggle" in text
    ledger = pd.read_csv(tmp_path / "submissions" / "ledger.csv", dtype=str).set_index(
        ["submission", "board"]
    )
    for name in ("miniature-fold0", "miniature-fold1", "miniature"):
        kaggle, local = (ledger.loc[(f"{name}.csv.gz", board)] for board in ("kaggle", "local"))
        assert float(kaggle["private"]) == pytest.approx(float(local["private"]), abs=1e-5)
        assert kaggle["cv_dice"] == local["cv_dice"]
    assert "How the folds' CV and the board agree" in text
    assert "were submitted" not in error_of(*submit, cwd=tmp_path)
    for column in ("public", "private"):
        assert ledger[column].dropna().str.len().eq(8).all()


def test_a_submission_that_the_check_refuses_never_leaves(
    finished: Path, signed_in: KaggleStandIn, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("img,rle_mask\n00000000000a_01.jpg,1 1\n")
    submit = ["submit", "mine.csv", "--board", "kaggle", "--data", finished / "data"]
    assert "which sample_submission.csv does not list" in error_of(*submit, cwd=tmp_path)
    assert signed_in.requests == []


def test_a_malformed_ledger_is_found_before_an_upload(
    finished: Path, signed_in: KaggleStandIn, tmp_path: Path
) -> None:
    shutil.copytree(finished / "submissions", tmp_path / "submissions")
    (tmp_path / "submissions" / "ledger.csv").write_text("submission\n")
    submit = ["submit", "submissions/miniature.csv.gz", "--board", "kaggle", "--data", finished / "data"]
    assert "ledger.csv: has no column" in error_of(*submit, "--again", cwd=tmp_path)
    assert signed_in.requests == []


def test_a_cluster_takes_neither_cut_outs_nor_shared_batches(finished: Path) -> None:
    assert run_script(*TRAIN, "--cluster", "local:2", "--gpus", "all", cwd=finished).status == 2
    photos = ["--recipe", "miniature", "--images", "data/test/*.jpg", "--cutouts", "cutouts"]
    assert run_script("predict", *photos, "--cluster", "local:2", cwd=finished).status == 2
    options = ["--out", "submissions/other.csv.gz", "--cluster", "local:few"]
    assert "expected local:N" in error_of(*PREDICT, *options, cwd=finished)


@pytest.fixture(scope="module")
def keras_seconds() -> float:
    """CPU seconds that importing Keras takes on this machine, some four to eight."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import carvana.backend"], check=True)
    return cpu_seconds_since(before)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_has_an_example_and_is_quick(script: str, keras_seconds: float, tmp_path: Path) -> None:
    text, seconds = cpu_seconds(script, "--help", cwd=tmp_path)
    assert f"./run.sh {script}" in text
    assert seconds < keras_seconds / 3


def test_the_comparison_is_quick(finished: Path, keras_seconds: float) -> None:
    _, seconds = cpu_seconds("compare", cwd=finished)
    assert seconds < keras_seconds / 3


def test_data_and_fold_table_have_defaults(tmp_path: Path) -> None:
    output_of(
        "prepare", "--source", "turntable", "--cars", 5, "--test-cars", 1, "--size", "96x64", cwd=tmp_path
    )
    missing = error_of("train", "--recipe", "miniature", *SMALL, cwd=tmp_path)
    assert (
        missing
        == "error: folds/data-5.csv: no such fold table; `./run.sh split --out folds/data-5.csv` writes it\n"
    )
    output_of("split", "--out", "folds/data-5.csv", cwd=tmp_path)
    output_of("train", "--recipe", "miniature", "--fold", 4, *SMALL, cwd=tmp_path)
    assert (tmp_path / "runs" / "miniature" / "fold-4" / "scores.csv").is_file()
