"""Networks exported for rembg: prepared photos give the maps of the project, and rembg itself runs them."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tests.prediction_helpers import probability_maps

from carvana.backend import keras
from carvana.errors import UserError
from carvana.inference.export import write_onnx
from carvana.inference.rembg import SESSIONS, RembgSession, build_rembg_model, export_for_rembg
from carvana.models.build import build, save, size_spec
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export needs TensorFlow")

STAGES = "stages=[{{size={}, epochs=1, batch_size=1, learning_rate=1e-3}}]"


def _networks(folder: Path, *changes: str) -> tuple[Recipe, list[RunDir], list[keras.Model]]:
    """Save two untrained networks whose maps have some contrast."""
    recipe = read_recipe(
        "miniature", ["base_filters=4", "depth=2", "precision=float32", STAGES.format([32, 48]), *changes]
    )
    runs, models = [], []
    for fold in (0, 1):
        run = RunDir(folder / f"fold-{fold}")
        model = build(recipe.model_copy(update={"seed": fold}))
        last = model.get_layer("car")
        last.set_weights([weights * 8 for weights in last.get_weights()])
        save(model, run.model)
        runs.append(run)
        models.append(model)
    return recipe, runs, models


def _photo(size: tuple[int, int]) -> Image.Image:
    """A photo of smooth colours, which every interpolation resizes to about the same."""
    small = np.random.default_rng(0).integers(256, size=(3, 4, 3), dtype=np.uint8)
    small[0, 0] = 255  # rembg divides by the largest value
    return Image.fromarray(small).resize(size[::-1], Image.Resampling.BILINEAR)


def _prepared(photo: Image.Image, session: RembgSession) -> np.ndarray:
    """Return the network's input (1, 3, side, side), as rembg prepares it."""
    pixels = np.array(photo.resize((session.side, session.side), Image.Resampling.LANCZOS))
    normalised = (pixels / pixels.max() - session.mean) / session.std
    return normalised.transpose(2, 0, 1)[None].astype(np.float32)


@pytest.mark.parametrize("size", [(32, 48), (384, 576)])
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_the_maps_are_those_of_the_project(
    tmp_path: Path, session: RembgSession, size: tuple[int, int]
) -> None:
    recipe, runs, models = _networks(tmp_path, STAGES.format(list(size)))
    path = tmp_path / "model.onnx"
    write_onnx(build_rembg_model(runs, recipe, session), path)
    runtime = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (model_input,) = runtime.get_inputs()
    assert model_input.shape[1:] == [3, session.side, session.side]
    photo = _photo((640, 960))
    (found,) = runtime.run(None, {model_input.name: _prepared(photo, session)})
    resized = np.array(photo.resize(size[::-1], Image.Resampling.BOX))
    expected = probability_maps(models, [resized], size_spec=size_spec(recipe), tta=recipe.tta)
    assert found.shape == expected.shape == (1, 1, *size)
    assert np.abs(found - expected).mean() < 0.01


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_rembg_runs_the_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: RembgSession
) -> None:
    """With the package of rembg, which is installed by hand: `pip install rembg onnxruntime`."""
    rembg = pytest.importorskip("rembg")
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    recipe, runs, models = _networks(tmp_path)
    written = list(export_for_rembg(runs, recipe, tmp_path, "miniature"))
    assert [path.name for path in written] == ["miniature-u2net_custom.onnx", "miniature-dis_custom.onnx"]
    path = tmp_path / f"miniature-{session.name}.onnx"
    photo = _photo((64, 96))
    running = rembg.new_session(session.name, model_path=str(path))
    mask = np.array(rembg.remove(photo, session=running, only_mask=True))
    assert mask.shape == (64, 96)
    resized = np.array(photo.resize((48, 32), Image.Resampling.BOX))
    expected = probability_maps(models, [resized], size_spec=size_spec(recipe), tta=recipe.tta)[0, 0]
    stretched = (expected - expected.min()) / (expected.max() - expected.min())
    large = np.array(Image.fromarray(stretched).resize((96, 64), Image.Resampling.LANCZOS))
    assert np.abs(mask / 255 - large).mean() < 0.03
    assert rembg.remove(photo, session=running).mode == "RGBA"


def test_networks_without_a_map_of_the_whole_photo_are_refused(tmp_path: Path) -> None:
    recipe, runs, _ = _networks(tmp_path, "padding=valid", "norm=none")
    with pytest.raises(UserError, match='networks of padding = "valid" cannot be exported for rembg'):
        build_rembg_model(runs, recipe, SESSIONS[0])
