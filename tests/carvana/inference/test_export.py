"""Export of the networks of a recipe and of its refinement networks."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.prediction_helpers import mask_of, probability_maps

from carvana.backend import keras
from carvana.data import images
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.errors import UserError
from carvana.inference.export import (
    build_export_model,
    build_export_refiner,
    check_replaceable,
    ensemble_files,
    export_ensemble,
    write_onnx,
    write_saved_model,
)
from carvana.inference.refinement import Refiner
from carvana.models.build import build, size_spec
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export needs TensorFlow")


def _save_networks(folder: Path, *changes: str) -> tuple[Recipe, list[RunDir], list[keras.Model]]:
    """Save two untrained networks whose maps have some contrast."""
    size = "stages=[{size=[30, 50], epochs=1, batch_size=1, learning_rate=1e-3}]"
    recipe = read_recipe("miniature", ["base_filters=4", "depth=2", "precision=float32", size, *changes])
    runs, models = [], []
    for fold in (0, 1):
        run = RunDir(folder / f"fold-{fold}")
        run.folder.mkdir()
        model = build(recipe.model_copy(update={"seed": fold}))
        last = model.get_layer("car")
        last.set_weights([weights * 8 for weights in last.get_weights()])
        model.save(run.model)
        runs.append(run)
        models.append(model)
    return recipe, runs, models


REFINE = "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1}"


def _save_refined_networks(folder: Path) -> tuple[Recipe, list[RunDir]]:
    """Save two untrained networks and two untrained refinement networks."""
    recipe, runs, _ = _save_networks(folder, REFINE)
    for fold, run in enumerate(runs):
        build_refiner(refiner_recipe(recipe).model_copy(update={"seed": fold})).save(run.refiner)
    return recipe, runs


@pytest.mark.parametrize("changes", [[], ["padding=valid", "norm=none"]], ids=["same", "cropped"])
def test_onnx_runtime_gives_the_same_masks(rendered: Path, tmp_path: Path, changes: list[str]) -> None:
    recipe, runs, models = _save_networks(tmp_path, *changes)
    write_onnx(build_export_model(runs, recipe), tmp_path / "ensemble.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ensemble.onnx", providers=["CPUExecutionProvider"])
    (model_input,) = session.get_inputs()
    assert (model_input.name, model_input.type, model_input.shape[1:]) == (
        "photo",
        "tensor(uint8)",
        [30, 50, 3],
    )
    photos = np.stack([images.read_photo(photo.path, (30, 50)) for photo in photos_to_predict(rendered)[::8]])
    (found,) = session.run(["probability"], {"photo": photos})
    expected = probability_maps(models, photos, size_spec=size_spec(recipe), tta=recipe.tta)[:, 0]
    assert np.abs(found - expected).max() < 1e-4
    differing = [
        np.mean(mask_of(one, (1280, 1918), 0.5) != mask_of(other, (1280, 1918), 0.5))
        for one, other in zip(found, expected, strict=True)
    ]
    assert max(differing) < 1e-4


def test_a_saved_model_gives_the_same_maps(rendered: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    recipe, runs, models = _save_networks(tmp_path, "tta=none")
    write_saved_model(build_export_model(runs, recipe), tmp_path / "exported")
    photos = np.stack([images.read_photo(photo.path, (30, 50)) for photo in photos_to_predict(rendered)[:2]])
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    found = loaded.serve(photos).numpy()
    expected = probability_maps(models, photos, size_spec=size_spec(recipe))[:, 0]
    assert np.abs(found - expected).max() < 1e-5


def test_half_precision_is_exported_as_float32(tmp_path: Path) -> None:
    recipe, runs, _ = _save_networks(tmp_path)
    model = build_export_model(runs, recipe.model_copy(update={"precision": "mixed_bfloat16"}))
    (ensemble,) = [layer for layer in model.layers if layer.name == "ensemble"]
    inner = ensemble.get_layer("members").models[0]
    assert {layer.compute_dtype for layer in inner.layers} == {"float32"}


@pytest.mark.parametrize("count", [1, 7])
def test_exported_refiners_predict_any_number_of_patches(tmp_path: Path, count: int) -> None:
    recipe, runs = _save_refined_networks(tmp_path)
    patches = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 4), np.uint8)
    expected = Refiner.load(runs, recipe).predict(patches)
    model = build_export_refiner(runs, recipe)
    write_onnx(model, tmp_path / "refiner.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "refiner.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["probability"], {"patches": patches})
    assert found.shape == (count, 16, 16)
    assert np.abs(found - expected).max() < 1e-5


def test_a_saved_model_of_refiners_gives_the_same_patches(tmp_path: Path) -> None:
    import tensorflow as tf

    recipe, runs = _save_refined_networks(tmp_path)
    write_saved_model(build_export_refiner(runs, recipe), tmp_path / "refiner")
    patches = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 4), np.uint8)
    loaded = tf.saved_model.load(str(tmp_path / "refiner"))
    found = loaded.serve(patches).numpy()
    assert np.abs(found - Refiner.load(runs, recipe).predict(patches)).max() < 1e-5


def test_an_export_with_refinement_writes_both_networks_and_the_script(tmp_path: Path) -> None:
    recipe, runs = _save_refined_networks(tmp_path)
    folder = tmp_path / "exports"
    written = dict(export_ensemble(runs, recipe, folder, "car", ["onnx", "saved_model"]))
    names = ["car.onnx", "car", "car-refiner.onnx", "car-refiner", "car.py"]
    assert list(written) == [folder / name for name in names]
    assert sorted(folder.iterdir()) == sorted([*written, folder / ".exports.jsonl"])
    assert ensemble_files(recipe, folder, "car", ["onnx", "saved_model"]) == list(written)
    assert written[folder / "car.onnx"].startswith("2 networks, tta flip, photos of 50x30")
    assert written[folder / "car-refiner.onnx"].startswith("2 networks, tta flip, patches of 16x16")


def test_an_export_is_repeated_but_replaces_no_file_of_the_user(tmp_path: Path) -> None:
    recipe, runs, _ = _save_networks(tmp_path)
    folder, formats = tmp_path / "exports", ["onnx", "saved_model"]
    files = ensemble_files(recipe, folder, "car", formats)
    for _ in range(2):
        check_replaceable(folder, files)
        assert [path for path, _ in export_ensemble(runs, recipe, folder, "car", formats)] == files
    check_replaceable(folder, files)
    assert sorted(folder.iterdir()) == sorted([*files, folder / ".exports.jsonl"])
    for file in (folder / "car.onnx", folder / "car.py", folder / "car" / "mine.txt"):
        before = file.read_bytes() if file.exists() else None
        file.write_text("of the user")
        with pytest.raises(UserError, match=r"exports/car[.a-z]*: exists, and was not written by `export`"):
            check_replaceable(folder, files)
        file.unlink() if before is None else file.write_bytes(before)
    check_replaceable(folder, files)


def test_refinement_networks_of_half_precision_are_exported_as_float32(tmp_path: Path) -> None:
    recipe, runs = _save_refined_networks(tmp_path)
    model = build_export_refiner(runs, recipe.model_copy(update={"precision": "mixed_bfloat16"}))
    (ensemble,) = [layer for layer in model.layers if layer.name == "ensemble"]
    inner = ensemble.get_layer("members").models[0]
    assert {layer.compute_dtype for layer in inner.layers} == {"float32"}
