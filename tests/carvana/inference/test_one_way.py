"""Validation, threshold search, test prediction, cut-outs, gallery and export make the same mask of a photo."""

import base64
import io
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carvana.backend import keras
from carvana.competition import rle
from carvana.competition.dice import dice
from carvana.data import images
from carvana.data.dataset import Sample, train_samples
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.data.split import Split
from carvana.evaluation.engine_choice import read_engine_scores, score_engine
from carvana.evaluation.threshold import THRESHOLDS, out_of_fold_dice
from carvana.inference.config import EngineConfig, EnsembleMember, PredictionConfig
from carvana.inference.cutouts import CutoutFolder, find_photos
from carvana.inference.export import export_ensemble
from carvana.inference.pipeline import predict_stream
from carvana.inference.predictors import WeightedEnsemble
from carvana.inference.standalone import patch_corners
from carvana.models.build import build, load
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe
from carvana.report import gallery
from carvana.report.experiments import find_experiments, read_makes
from carvana.runs import RunDir
from carvana.submission.csv_file import read_masks
from carvana.submission.ledger import Ledger
from carvana.submission.predict_test import predict_test_set, submission_specs
from carvana.training.cross_validation import train_folds

SIZE = (64, 96)
"""The rendered photos' (height, width); networks predict them at 32x48."""


REFINE = "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1, epochs=1, patches_per_photo=8}"


@pytest.fixture(scope="module", params=[[], [REFINE]], ids=["coarse", "refined"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    stages = "stages=[{size=[32, 48], epochs=12, batch_size=8, learning_rate=1e-2}]"
    return read_recipe("miniature", ["base_filters=4", "depth=2", "threshold=0.3", stages, *request.param])


@pytest.fixture(scope="module")
def data(rendered: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of each recipe, whose first two test photos are copies of out-of-fold training photos."""
    root = Path(shutil.copytree(rendered, tmp_path_factory.mktemp("one_way") / "data"))
    for test, train in zip(photos_to_predict(root)[:2], train_samples(root)[:2], strict=False):
        shutil.copy(train.path, test.path)
    return root


@pytest.fixture(scope="module")
def run(data: Path, recipe: Recipe) -> RunDir:
    """A network that was trained without the first two cars, just enough to find some contour."""
    samples = train_samples(data)
    cars = sorted({sample.car for sample in samples})
    folds = data.parent / "two.csv"
    folds.write_text("car,fold\n" + "".join(f"{car},{n // 2}\n" for n, car in enumerate(cars)))
    (trained,) = train_folds(recipe, Split.read(samples, folds), [0], data.parent / "runs")
    return trained


@pytest.fixture(scope="module")
def config(run: RunDir, recipe: Recipe) -> PredictionConfig:
    return PredictionConfig((EnsembleMember(recipe.name, 1.0, recipe, (run,)),))


@pytest.fixture(scope="module")
def samples(data: Path) -> list[Sample]:
    """The two training photos that are test photos, too."""
    return train_samples(data)[:2]


@pytest.fixture(scope="module")
def masks(config: PredictionConfig, data: Path) -> list[np.ndarray]:
    """Their masks in a submission."""
    path = data.parent / "submissions" / "one.csv.gz"
    photos = photos_to_predict(data)
    predict_test_set(submission_specs(config, path), photos)
    texts = read_masks(path, {photo.name for photo in photos[:2]})
    return [rle.decode(texts[photo.name], SIZE) for photo in photos[:2]]


def test_the_masks_are_not_trivial(masks: list[np.ndarray]) -> None:
    assert all(0.05 < mask.mean() < 0.95 for mask in masks)


def test_validation_scores_the_submissions_masks(
    run: RunDir, samples: list[Sample], masks: list[np.ndarray]
) -> None:
    scores = run.read_scores().set_index("img")["dice"]
    for sample, mask in zip(samples, masks, strict=True):
        assert scores[sample.name] == dice(mask, images.read_mask(sample.mask))


def test_the_threshold_search_scores_as_validation_does(
    run: RunDir, config: PredictionConfig, data: Path
) -> None:
    """The recipe's threshold is in the grid; there, all out-of-fold scores are the same numbers."""
    names, dice = out_of_fold_dice(config, train_samples(data))
    at_threshold = dice[:, THRESHOLDS.tolist().index(config.effective_threshold)]
    pd.testing.assert_frame_equal(
        pd.DataFrame({"img": names, "dice": at_threshold}), run.read_scores(), check_exact=True
    )


def test_cutouts_have_the_submissions_masks(
    config: PredictionConfig, samples: list[Sample], masks: list[np.ndarray], tmp_path: Path
) -> None:
    for sample in samples:
        shutil.copy(sample.path, tmp_path)
    photos = find_photos([str(tmp_path)])
    folder = CutoutFolder(tmp_path / "out", config, maps=False, hard=True)
    made = folder.cut_out(WeightedEnsemble.load(config), photos, lambda *_: None)
    for cutout, mask in zip(made, masks, strict=True):
        assert np.array_equal(np.asarray(Image.open(cutout.mask)) > 0, mask)
        assert np.array_equal(np.asarray(Image.open(cutout.cutout))[..., 3] > 0, mask)


def test_the_gallery_draws_the_submissions_masks(
    run: RunDir, data: Path, samples: list[Sample], masks: list[np.ndarray]
) -> None:
    """The pictures of these small photos have the photos' own size."""
    experiments = find_experiments(run.folder.parent.parent)
    pictures = gallery.pictures(experiments, data, read_makes(data), worst=100, max_bytes=10**9)
    by_name = {picture.img: picture for picture in pictures.drawn}
    for sample, mask in zip(samples, masks, strict=True):
        png = base64.b64decode(by_name[sample.name].mask.partition(",")[2])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))) > 0, mask)


def test_all_of_it_is_above_the_threshold_of_the_upsampled_map(
    run: RunDir, recipe: Recipe, samples: list[Sample], masks: list[np.ndarray]
) -> None:
    """The masks are those of the plain way: predict both mirror images, average, upsample, threshold.

    Refinement changes nothing outside its patches.
    """
    model = load(run.model)
    for sample, mask in zip(samples, masks, strict=True):
        photo = images.read_photo(sample.path, recipe.size)[None].astype(np.float32)
        flipped = model.predict_on_batch(photo[:, :, ::-1])[:, :, ::-1]
        probabilities = ((model.predict_on_batch(photo) + flipped) / 2)[0, ..., 0]
        upsampled = cv2.resize(probabilities, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        sure = np.abs(upsampled - recipe.threshold) > 1e-4  # closer values depend on rounding
        if recipe.refine:
            side, spacing = recipe.refine.patch, recipe.refine.spacing
            for row, column in patch_corners(probabilities, SIZE, side, spacing):
                sure[row : row + side, column : column + side] = False
        assert sure.any()
        assert np.array_equal((upsampled > recipe.threshold)[sure], mask[sure])


@pytest.fixture
def openvino() -> EngineConfig:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("converting networks needs TensorFlow")
    return EngineConfig("openvino", "float32")


def test_another_engine_makes_the_same_masks_everywhere(
    run: RunDir, config: PredictionConfig, data: Path, samples: list[Sample], openvino: EngineConfig
) -> None:
    config = replace(config, engine=openvino)
    path = data.parent / "submissions" / "openvino.csv.gz"
    photos = photos_to_predict(data)
    predict_test_set(submission_specs(config, path), photos)
    texts = read_masks(path, {photo.name for photo in photos[:2]})
    dices = [
        dice(rle.decode(texts[photo.name], SIZE), images.read_mask(sample.mask))
        for photo, sample in zip(photos[:2], samples, strict=True)
    ]
    score_engine(run, samples, openvino, lambda *_: None)
    assert read_engine_scores(run, openvino)["dice"].tolist() == dices
    _, at_thresholds = out_of_fold_dice(config, train_samples(data))
    assert at_thresholds[:2, THRESHOLDS.tolist().index(config.effective_threshold)].tolist() == dices
    rows = Ledger.beside(path).rows()
    assert [row["engine"] for row in rows if row["submission"] == path.name] == ["openvino-float32"]


RUN_WITHOUT_THE_PROJECT = """
import runpy, sys
sys.modules.update(dict.fromkeys(["carvana", "keras", "tensorflow"]))  # importing them is an error
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def float32_config(run: RunDir, recipe: Recipe, tmp_path: Path) -> PredictionConfig:
    """The same networks in float32, which is the precision of exported networks."""
    recipe = recipe.model_copy(update={"precision": "float32"})
    copy = RunDir(tmp_path / "fold-0")
    copy.folder.mkdir()
    networks = [(run.model, copy.model, build(recipe))]
    if recipe.refine:
        networks.append((run.refiner, copy.refiner, build_refiner(refiner_recipe(recipe))))
    for trained, path, model in networks:
        model.set_weights(load(trained).get_weights())
        model.save(path)
    return PredictionConfig((EnsembleMember(recipe.name, 1.0, recipe, (copy,)),))


def test_openvino_makes_the_masks_of_keras(
    float32_config: PredictionConfig, recipe: Recipe, samples: list[Sample], openvino: EngineConfig
) -> None:
    """A few pixels at the threshold may differ, for the reason that the next test gives."""
    of_engines = [
        predict_stream(
            WeightedEnsemble.load(replace(float32_config, engine=engine)),
            samples,
            lambda prediction: rle.edges_to_mask(prediction.edges(recipe.threshold), SIZE),
        )
        for engine in (float32_config.engine, openvino)
    ]
    for expected, mask in zip(*of_engines, strict=True):
        assert np.count_nonzero(mask != expected) <= 3


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export needs TensorFlow")
def test_the_exported_script_makes_the_same_masks_without_the_project(
    run: RunDir, recipe: Recipe, float32_config: PredictionConfig, samples: list[Sample], tmp_path: Path
) -> None:
    """Photos are PNG files here: JPEG files are decoded at a smaller scale, which the script doesn't do.

    A probability that differs in its last digit may be rounded to another level of a patch, so that a few pixels
    at the threshold may differ.
    """
    for sample in samples:
        Image.fromarray(images.read_photo(sample.path)).save(tmp_path / f"{sample.path.stem}.png")
    photos = find_photos([str(tmp_path / "*.png")])
    predicted = predict_stream(
        WeightedEnsemble.load(float32_config),
        photos,
        lambda prediction: rle.edges_to_mask(prediction.edges(recipe.threshold), SIZE),
        keep_aspect=True,
    )
    list(export_ensemble([run], recipe, tmp_path / "exports", "car", ["onnx"]))
    command = [
        sys.executable,
        "-c",
        RUN_WITHOUT_THE_PROJECT,
        "exports/car.py",
        *(photo.name for photo in photos),
    ]
    subprocess.run([*command, "--png", "masks"], cwd=tmp_path, check=True)
    subprocess.run([*command, "--csv", "masks.csv"], cwd=tmp_path, check=True)
    rows = pd.read_csv(tmp_path / "masks.csv", index_col="img")["rle_mask"]
    for photo, expected in zip(photos, predicted, strict=True):
        mask = np.asarray(Image.open(tmp_path / "masks" / photo.name)) > 0
        assert np.count_nonzero(mask != expected) <= 3
        assert np.array_equal(rle.decode(rows[photo.name], SIZE), mask)
    jpeg = samples[0].path.read_bytes()
    png = (tmp_path / f"{samples[0].path.stem}.png").read_bytes()
    broken = {"text.png": b"not an image", "cut.jpg": jpeg[: len(jpeg) // 2], "cut.png": png[: len(png) // 2]}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        refused = subprocess.run(
            [*command, name, "--png", "masks"], cwd=tmp_path, capture_output=True, text=True
        )
        assert refused.returncode == 1
        assert (
            refused.stderr.splitlines()[-1] == f"{name}: missing, cut off, or not an image that OpenCV reads"
        )
