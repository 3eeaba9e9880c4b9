"""The scripts as a person calls them."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carvana.competition import rle
from carvana.data import images
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.data.dataset import train_samples

from .conftest import SRC
from .kaggle_stand_in import KaggleStandIn

SMALL = [
    *("--set", "base_filters=4", "--set", "depth=2"),
    *("--set", "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]"),
]


def run(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """RunDir a script in a folder, as `./run.sh SCRIPT` does."""
    command = [sys.executable, SRC / f"{script}.py", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def ok(script: str, *arguments: object, cwd: Path) -> str:
    """What a script prints that must end well."""
    done = run(script, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def timed(script: str, *arguments: object, cwd: Path) -> tuple[str, float]:
    """What a script prints, and the processor's seconds that it takes: the throughput's are also other programs'."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = ok(script, *arguments, cwd=cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return text, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def refused(script: str, *arguments: object, cwd: Path) -> str:
    """The one line of a script that must refuse its input."""
    done = run(script, *arguments, cwd=cwd)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every step was done once, on two folds."""
    cwd = tmp_path_factory.mktemp("worked")
    ok("prepare", "--source", "turntable", "--cars", 4, "--test-cars", 3, "--size", "96x64", cwd=cwd)
    ok("split", "--data", "data", "--n-folds", 2, cwd=cwd)
    ok("train", "--recipe", "miniature", "--data", "data", "--folds", "folds/data-2.csv", *SMALL, cwd=cwd)
    ok("predict", "--recipe", "miniature", "--data", "data", "--each-fold", *SMALL, cwd=cwd)
    ok("submit", "--each-fold", "--board", "local", cwd=cwd)
    return cwd


def test_the_comparison_has_a_row_a_fold_and_one_for_the_ensemble(worked: Path) -> None:
    text = ok("compare", cwd=worked)
    rows = [re.split(r"\s*│\s*", line.strip("│ ")) for line in text.splitlines() if ".csv.gz" in line]
    assert [row[1] for row in rows] == ["0", "1", "all"]
    for row in rows:
        cv, private, gap = float(row[2]), float(row[5]), float(row[6])
        assert gap == pytest.approx(private - cv, abs=2e-6)
        assert row[7] == "local"


def test_the_report_holds_the_ledger_and_each_runs_worst_photos(worked: Path) -> None:
    options = ["--html", "submissions/report.html", "--data", "data", "--worst", 2]
    text = ok("compare", *options, cwd=worked)
    assert "submissions/report.html: written" in text
    page = (worked / "submissions" / "report.html").read_text()
    for row in pd.read_csv(worked / "submissions" / "ledger.csv", dtype=str).itertuples():
        assert f">{row.private}</td>" in page
    assert page.count('<figure class="card" data-recipe="miniature"') == 2 * 2
    listed = pd.read_csv(worked / "submissions" / "miniature-checks.csv")
    assert page.count('<figure class="card" data-submission="miniature.csv.gz"') == len(listed) > 0


def test_the_comparison_is_quick(worked: Path) -> None:
    _, seconds = timed("compare", cwd=worked)
    assert seconds < 2


def test_the_ledgers_scores_are_those_of_score(worked: Path) -> None:
    ledger = pd.read_csv(worked / "submissions" / "ledger.csv")
    row = ledger[ledger["fold"] == "all"].iloc[0]
    text = ok("score", "submissions/miniature.csv.gz", "--truth", "data/test_masks.csv", cwd=worked)
    assert re.search(rf"│ public +│ {row['public']:.6f} │", text)
    assert re.search(rf"│ private +│ {row['private']:.6f} │", text)
    scores = pd.concat(pd.read_csv(path) for path in worked.glob("runs/miniature/fold-*/scores.csv"))
    assert row["cv_dice"] == pytest.approx(scores["dice"].mean(), abs=1e-6)
    assert row["cv_low"] <= row["cv_dice"] <= row["cv_high"]


def test_the_truth_scores_one(worked: Path, tmp_path: Path) -> None:
    truth = pd.read_csv(worked / "data" / "test_masks.csv")
    truth[["img", "rle_mask"]].to_csv(tmp_path / "perfect.csv", index=False)
    text = ok("score", tmp_path / "perfect.csv", "--truth", "data/test_masks.csv", cwd=worked)
    assert text.count("1.000000 .. 1.000000") == 3


def test_nothing_is_done_twice(worked: Path) -> None:
    files = [
        *worked.glob("runs/**/[!.]*.*"),  # a lock tells who holds it
        *worked.glob("submissions/*.gz"),
        *worked.glob("folds/*"),
        *worked.glob("data/*/*"),
    ]
    written = {path: path.stat().st_mtime_ns for path in files}
    ok("prepare", cwd=worked)
    ok("split", "--data", "data", "--n-folds", 2, cwd=worked)
    train = ok(
        "train", "--recipe", "miniature", "--data", "data", "--folds", "folds/data-2.csv", *SMALL, cwd=worked
    )
    predict = ok("predict", "--recipe", "miniature", "--data", "data", "--each-fold", *SMALL, cwd=worked)
    assert train.count("trained already") == 2
    assert predict.count("predicted already") == 3
    assert {path: path.stat().st_mtime_ns for path in files} == written


def test_rows_come_in_the_sample_submissions_order(worked: Path) -> None:
    sample = pd.read_csv(worked / "data" / "sample_submission.csv")
    for name in ("miniature", "miniature-fold0", "miniature-fold1"):
        assert pd.read_csv(worked / "submissions" / f"{name}.csv.gz")["img"].equals(sample["img"])


def test_a_training_killed_in_the_middle_goes_on(worked: Path, tmp_path: Path) -> None:
    stages = "stages=[{size=[32, 48], epochs=40, batch_size=8, learning_rate=1e-2}]"
    options = ["--recipe", "miniature", "--data", worked / "data", "--folds", worked / "folds" / "data-2.csv"]
    options += ["--fold", "0", "--set", "base_filters=4", "--set", "depth=2", "--set", stages]
    training = subprocess.Popen(
        [sys.executable, SRC / "train.py", *options], cwd=tmp_path, stdout=subprocess.PIPE
    )
    history = tmp_path / "runs" / "miniature" / "fold-0" / "history.csv"
    until = time.monotonic() + 120
    while not history.exists() and time.monotonic() < until:
        time.sleep(0.05)
    training.kill()
    training.communicate()
    before = pd.read_csv(history)
    text = ok("train", *options, cwd=tmp_path)
    assert "fold 0: goes on after epoch" in text
    after = pd.read_csv(history)
    assert after["epoch"].tolist() == list(range(1, 41))
    pd.testing.assert_frame_equal(after[: len(before)], before)


def test_ctrl_c_is_one_line(worked: Path, tmp_path: Path) -> None:
    options = ["--recipe", "miniature", "--data", worked / "data", "--folds", worked / "folds" / "data-2.csv"]
    script = subprocess.Popen(
        [sys.executable, SRC / "train.py", *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    until = time.monotonic() + 120
    while (
        not (tmp_path / "runs" / "miniature" / "fold-0" / "metadata.json").exists()
        and time.monotonic() < until
    ):
        time.sleep(0.05)
    script.send_signal(signal.SIGINT)
    _, said = script.communicate()
    assert (script.returncode, said) == (
        130,
        "stopped; what is finished is kept, and the same command goes on from there\n",
    )


def test_another_threshold_is_another_submission(worked: Path) -> None:
    options = ["--recipe", "miniature", "--data", "data", "--fold", 1, *SMALL]
    ok(
        "predict",
        *options,
        "--threshold",
        0.9,
        "--tta",
        "none",
        "--out",
        "submissions/strict.csv.gz",
        cwd=worked,
    )
    ledger = pd.read_csv(worked / "submissions" / "ledger.csv").set_index("submission")
    assert ledger.loc["strict.csv.gz", ["fold", "tta", "threshold"]].tolist() == ["1", "none", 0.9]
    assert pd.isna(ledger.loc["strict.csv.gz", "cv_dice"])  # cross-validation did not ask the network so


def test_maps_that_were_kept_are_blended_with_networks(worked: Path) -> None:
    """A blend of a recipe with its own maps is that recipe, but for the maps' 8 bits."""
    ok(
        "predict",
        "--recipe",
        "miniature",
        "--data",
        "data",
        "--keep-maps",
        "--out",
        "submissions/kept.csv.gz",
        *SMALL,
        cwd=worked,
    )
    sample = pd.read_csv(worked / "data" / "sample_submission.csv")["img"]
    kept = sorted(path.stem for path in (worked / "submissions" / "kept-maps").iterdir())
    assert kept == sorted(sample.str.removesuffix(".jpg"))
    ok("predict", "--blend", "miniature=0.3,submissions/kept-maps=0.7", "--data", "data", *SMALL, cwd=worked)
    path = worked / "submissions" / "miniature=0.3+kept-maps=0.7.csv.gz"
    blended, alone = (
        pd.read_csv(file, keep_default_na=False) for file in (path, worked / "submissions/kept.csv.gz")
    )
    assert blended["img"].equals(alone["img"])
    for img, *masks in zip(blended["img"], blended["rle_mask"], alone["rle_mask"], strict=True):
        with Image.open(worked / "submissions" / "kept-maps" / f"{img.removesuffix('.jpg')}.png") as levels:
            probabilities = images.resize(np.asarray(levels, np.float32) / 255, (64, 96))
        sure = np.abs(probabilities - 0.5) > 1 / 255
        first, second = (rle.decode(mask, (64, 96)) for mask in masks)
        assert np.array_equal(first[sure], second[sure])
    row = pd.read_csv(worked / "submissions" / "ledger.csv").set_index("submission").loc[path.name]
    assert row[["recipe", "fold", "tta"]].tolist() == ["miniature=0.3,kept-maps=0.7", "all", "flip+kept"]
    message = refused(
        "predict",
        "--blend",
        "miniature=1,submissions/kept-maps=1",
        "--threshold",
        "auto",
        "--data",
        "data",
        *SMALL,
        cwd=worked,
    )
    assert "give --threshold a number" in message


def test_masks_to_look_at_are_listed(worked: Path) -> None:
    text = ok(
        "predict",
        "--recipe",
        "miniature",
        "--data",
        "data",
        "--tta",
        "scales",
        "--out",
        "submissions/scales.csv.gz",
        *SMALL,
        cwd=worked,
    )
    assert "submissions/scales-checks.csv: the 48 photos to look at" in text
    listed = pd.read_csv(worked / "submissions" / "scales-checks.csv")
    assert set(listed["img"]) <= set(pd.read_csv(worked / "data" / "sample_submission.csv")["img"])


def test_the_threshold_is_that_of_out_of_fold_photos(worked: Path) -> None:
    options = ["--recipe", "miniature", "--data", "data", "--threshold", "auto", *SMALL]
    text = ok("predict", *options, "--out", "submissions/auto.csv.gz", cwd=worked)
    assert "Threshold, out of fold" in text
    row = pd.read_csv(worked / "submissions" / "ledger.csv").set_index("submission").loc["auto.csv.gz"]
    assert 0 < row["threshold"] < 1
    trained = pd.concat(pd.read_csv(path) for path in worked.glob("runs/miniature/fold-*/scores.csv"))
    if row["threshold"] == 0.5:
        assert row["cv_dice"] == pytest.approx(trained["dice"].mean(), abs=1e-3)
    else:
        assert row["cv_dice"] > trained["dice"].mean()
    curves = list(worked.glob("runs/miniature/fold-*/curves-*.npz"))
    assert len(curves) == 2
    again = ok("predict", *options, "--out", "submissions/auto.csv.gz", cwd=worked)
    assert "predicted already" in again
    assert "out of fold, fold" not in again


def test_cars_are_cut_out_of_any_photos(worked: Path, tmp_path: Path) -> None:
    photo = photos_to_predict(worked / "data")[0].path
    with Image.open(photo) as image:
        image.rotate(90, expand=True).save(tmp_path / "portrait.png")
    options = ["--recipe", "miniature", *SMALL, "--images", tmp_path, "--cutouts", "cutouts"]
    text = ok("predict", *options, cwd=worked)
    assert "1 photos cut out to cutouts" in text
    with Image.open(worked / "cutouts" / "portrait.png") as cutout:
        assert (cutout.mode, cutout.size) == ("RGBA", (64, 96))
    with Image.open(worked / "cutouts" / "portrait_mask.png") as mask:
        assert (mask.mode, mask.size) == ("L", (64, 96))
    assert "cutouts: has 1 of 1 photos already" in ok("predict", *options, cwd=worked)
    assert run("predict", "--recipe", "miniature", "--images", tmp_path, cwd=worked).returncode == 2


def test_an_ensemble_is_exported(worked: Path) -> None:
    text = ok("export", "--recipe", "miniature", *SMALL, cwd=worked)
    assert "exports/miniature.onnx: 2 networks, tta flip, photos of 48x32" in text
    assert (worked / "exports" / "miniature" / "saved_model.pb").exists()
    message = refused("export", "--recipe", "miniature", *SMALL, "--set", "tta=scales", cwd=worked)
    assert "takes photos of one size" in message


def test_a_study_compares_recipes_and_goes_on(worked: Path, tmp_path: Path) -> None:
    stage = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]"
    (tmp_path / "wide.toml").write_text(
        f'title = "Wider"\nbaseline = "miniature"\ncommon = ["depth=1", "{stage}"]\n'
        '[recipes]\nminiature = ["base_filters=2"]\nfast = ["base_filters=4"]\n'
    )
    options = ["--study", "wide.toml", "--data", worked / "data", "--folds", worked / "folds" / "data-2.csv"]
    text = ok("study", *options, cwd=tmp_path)
    page = (tmp_path / "wide.md").read_text()
    assert "| fast | 0." in page
    assert (tmp_path / "wide.png").exists()
    assert "trained already" not in text
    assert ok("study", *options, cwd=tmp_path).count("trained already") == 2
    assert (tmp_path / "wide.md").read_text() == page


def test_bad_input_is_one_line(worked: Path, data: Path, tmp_path: Path) -> None:
    folds = worked / "folds" / "data-2.csv"
    train = ["--recipe", "miniature", "--data", worked / "data", "--folds", folds]
    assert "fold 9: not in the fold table" in refused("train", *train, "--fold", 9, *SMALL, cwd=tmp_path)
    assert "unknown key 'widht'" in refused("train", *train, "--set", "widht=3", cwd=tmp_path)
    assert "mine: no such recipe" in refused("predict", "--recipe", "mine", "--data", data, cwd=tmp_path)
    assert "not trained" in refused("predict", "--recipe", "miniature", "--data", data, cwd=tmp_path)
    other = refused("predict", "--recipe", "miniature", "--data", "data", cwd=worked)
    assert "trained with another recipe; it differs in base_filters (4, 8)" in other
    assert "lacks 4 cars of the data" in refused("train", *train[:3], data, *train[4:], cwd=tmp_path)
    assert "holds no submission yet" in refused("compare", cwd=tmp_path)
    assert "no such file" in refused("score", "none.csv", "--truth", data / "test_masks.csv", cwd=tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    assert "holds no photos" in refused("prepare", "--data", "full", cwd=tmp_path)
    assert "expected WIDTHxHEIGHT" in refused("prepare", "--size", "big", cwd=tmp_path)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "submissions").exists()


def test_broken_images_stop_training_with_their_name(data: Path, tmp_path: Path) -> None:
    photo = train_samples(data)[20]
    photo.path.write_bytes(photo.path.read_bytes()[:900])
    ok("split", "--data", data, "--n-folds", 2, cwd=tmp_path)
    train = ["--recipe", "miniature", "--data", data, "--folds", "folds/data-2.csv", *SMALL]
    assert f"{photo.name}: not a whole JPEG" in refused("train", *train, cwd=tmp_path)
    assert list(tmp_path.glob("runs/**/*.keras")) == []


def test_a_broken_photo_leaves_no_half_submission(worked: Path, data: Path) -> None:
    photo = photos_to_predict(data)[-1]
    photo.path.write_bytes(photo.path.read_bytes()[:900])
    before = sorted(worked.glob("submissions/[!.]*"))
    options = ["--recipe", "miniature", "--data", data, "--out", "submissions/broken.csv.gz", *SMALL]
    assert f"{photo.name}: not a whole JPEG" in refused("predict", *options, cwd=worked)
    assert sorted(worked.glob("submissions/[!.]*")) == before


def test_wrong_arguments_exit_2(tmp_path: Path) -> None:
    assert run("train", "--recipe", "fast", cwd=tmp_path).returncode == 2
    assert run("prepare", "--source", "moon", cwd=tmp_path).returncode == 2


def test_without_anything_the_turntable_renders(kaggle: KaggleStandIn, tmp_path: Path) -> None:
    text = ok("prepare", "--cars", 2, "--test-cars", 1, "--size", "48x32", cwd=tmp_path)
    assert "Not from Kaggle: no Kaggle credentials; make a token at" in text
    assert "data: holds no images yet; the turntable renders" in text
    assert kaggle.requests == []


def test_with_credentials_an_empty_folder_is_filled_by_kaggle(
    signed_in: KaggleStandIn, zips: Path, tmp_path: Path
) -> None:
    signed_in.files = {path.name: path.read_bytes() for path in zips.iterdir()}
    text = ok("prepare", "--keep-zips", cwd=tmp_path)
    assert re.search(r"│ train │ +4 │ +64 │ 96x64 │", text)
    assert (tmp_path / "data" / "test.zip").exists()
    signed_in.requests.clear()
    ok("prepare", "--no-keep-zips", cwd=tmp_path)
    assert signed_in.requests == []
    assert ok("prepare", "--data", "other", "--zips", zips, cwd=tmp_path).count("unpack") == 6
    assert "is not a folder" in refused("prepare", "--data", "data/metadata.csv", cwd=tmp_path)


def test_folds_on_kaggle_end_in_the_same_table(
    worked: Path, signed_in: KaggleStandIn, tmp_path: Path
) -> None:
    signed_in.truth = worked / "data" / "test_masks.csv"
    shutil.copytree(worked / "submissions", tmp_path / "submissions")
    submit = ["submit", "submissions/miniature.csv.gz", "--each-fold", "--data", worked / "data"]
    submit += ["--board", "kaggle"]
    assert ok(*submit, "--dry-run", cwd=tmp_path).count("in order, 48 photos; would go to the kaggle") == 3
    assert signed_in.requests == []
    signed_in.pending_for = 1_000
    assert ok(*submit, "--wait", 0, cwd=tmp_path).count("not scored yet") == 3
    signed_in.pending_for = 0
    text = ok("compare", "--refresh", cwd=tmp_path)
    assert "3 rows updated with scores from Kaggle" in text
    ledger = pd.read_csv(tmp_path / "submissions" / "ledger.csv", dtype=str).set_index(
        ["submission", "board"]
    )
    for name in ("miniature-fold0", "miniature-fold1", "miniature"):
        kaggle, local = (ledger.loc[(f"{name}.csv.gz", board)] for board in ("kaggle", "local"))
        assert float(kaggle["private"]) == pytest.approx(float(local["private"]), abs=1e-5)
        assert kaggle["cv_dice"] == local["cv_dice"]
    assert "How the folds' CV and the board agree" in text
    assert "were submitted" not in refused(*submit, cwd=tmp_path)
    for column in ("public", "private"):
        assert ledger[column].dropna().str.len().eq(8).all()


def test_a_submission_that_the_check_refuses_never_leaves(
    worked: Path, signed_in: KaggleStandIn, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("img,rle_mask\n00000000000a_01.jpg,1 1\n")
    submit = ["submit", "mine.csv", "--board", "kaggle", "--data", worked / "data"]
    assert "not a photo of the test set" in refused(*submit, cwd=tmp_path)
    assert signed_in.requests == []


def test_without_a_cluster_nothing_of_dask_is_imported(worked: Path) -> None:
    options = ["--recipe", "miniature", "--data", "data", "--folds", "folds/data-2.csv", "--fresh", *SMALL]
    code = (
        "import sys, carvana.console, train\n"
        "try: carvana.console.run(train.train)\n"
        "finally: print('imported', {'dask', 'distributed'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *options, "--runs", "again"],
        cwd=worked,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
    )
    assert "Out-of-fold Dice" in done.stdout
    assert "imported set()" in done.stdout


def test_a_cluster_takes_neither_cut_outs_nor_shared_batches(worked: Path) -> None:
    train = ["--recipe", "miniature", "--data", "data", "--folds", "folds/data-2.csv"]
    assert run("train", *train, "--cluster", "local:2", "--gpus", "all", cwd=worked).returncode == 2
    photos = ["--recipe", "miniature", "--images", "data/test/*.jpg", "--cutouts", "cutouts"]
    assert run("predict", *photos, "--cluster", "local:2", cwd=worked).returncode == 2
    predict = ["--recipe", "miniature", "--data", "data", "--out", "submissions/other.csv.gz", *SMALL]
    assert "expected local:N" in refused("predict", *predict, "--cluster", "local:few", cwd=worked)


SCRIPTS = ["prepare", "split", "train", "predict", "score", "submit", "compare", "study", "export"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_has_an_example_and_is_quick(script: str, tmp_path: Path) -> None:
    text, seconds = timed(script, "--help", cwd=tmp_path)
    assert f"./run.sh {script}" in text
    assert seconds < 2


def test_no_script_but_those_that_need_it_imports_keras_or_kaggle(tmp_path: Path) -> None:
    for script in SCRIPTS:
        code = (
            f"import sys; sys.path.insert(0, {str(SRC)!r}); import {script}; "
            "sys.exit(bool({'keras', 'tensorflow', 'kaggle', 'matplotlib', 'dask'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
        assert done.returncode == 0, script
