"""Networks computed by OpenVINO, compared with Keras."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.damage import flip_bit

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.inference.config import EngineConfig, quantized_file
from carvana.inference.engines import KerasEngine, load_networks
from carvana.inference.predictors import FoldEnsemble
from carvana.models.build import build, save
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe

openvino_engine = pytest.importorskip("carvana.inference.openvino_engine", reason="OpenVINO is not installed")
from carvana.inference.openvino_files import read_network, write_network  # noqa: E402  it needs OpenVINO

if keras.backend.backend() != "tensorflow":
    pytest.skip("converting networks needs TensorFlow", allow_module_level=True)

FLOAT32 = EngineConfig("openvino", "float32")
REFINE = "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1}"
SIZE = (32, 48)
SIGNAL_AFTER_RELEASE = """
import gc, os, signal, sys, threading
from pathlib import Path
import numpy as np
from carvana.inference.config import EngineConfig
from carvana.inference.engines import load_networks
from carvana.models.build import build
from carvana.recipe import read_recipe

recipe = read_recipe("miniature", sys.argv[2:])
networks, create = load_networks([Path(sys.argv[1])], recipe, build, EngineConfig("openvino", "float32"))
engines = [create(networks, flip=False)]
engines[0].predict(np.zeros((1, 32, 48, 3), np.uint8))
del networks, create
releasing = threading.Thread(target=lambda: (engines.clear(), gc.collect()))
releasing.start()
releasing.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""
"""A program that releases a network in a second thread, and then handles a signal."""


STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]"
OPTIONS = [
    "base_filters=4",
    "depth=2",
    "norm=weight_standardized",
    "space_to_depth=2",
    STAGE,
    REFINE,
    "precision=mixed_bfloat16",
]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe("miniature", OPTIONS)


@pytest.fixture(scope="module")
def paths(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of two untrained networks."""
    folder = tmp_path_factory.mktemp("networks")
    paths = [folder / f"fold-{seed}.keras" for seed in range(2)]
    for seed, path in enumerate(paths):
        save(build(recipe.model_copy(update={"seed": seed})), path)
    return paths


@pytest.fixture(scope="module")
def in_float32(recipe: Recipe, paths: list[Path]) -> list[keras.Model]:
    """The same networks in Keras, in float32."""
    float32 = recipe.model_copy(update={"precision": "float32"})
    return [build(float32.model_copy(update={"seed": seed})) for seed in range(len(paths))]


@pytest.fixture
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(5, *SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(("flip", "per_fold"), [(False, False), (True, True)])
def test_maps_and_sums_are_those_of_keras(
    recipe: Recipe,
    paths: list[Path],
    in_float32: list[keras.Model],
    photos: np.ndarray,
    flip: bool,
    per_fold: bool,
) -> None:
    networks, create = load_networks(paths, recipe, build, FLOAT32)
    maps, sums = create(networks, flip=flip, per_fold=per_fold).predict(photos)
    expected_maps, expected_sums = KerasEngine(in_float32, flip=flip, per_fold=per_fold).predict(photos)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected_maps, atol=1e-5)
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-3)


def test_signals_are_handled_after_another_thread_released_the_networks(paths: list[Path]) -> None:
    command = [sys.executable, "-c", SIGNAL_AFTER_RELEASE, str(paths[0]), *OPTIONS]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "handled\n"


def test_refinement_networks_predict_patches_as_keras_does(recipe: Recipe, tmp_path: Path) -> None:
    network = build_refiner(refiner_recipe(recipe).model_copy(update={"precision": "float32"}))
    save(network, tmp_path / "refiner.keras")
    networks, create = load_networks(
        [tmp_path / "refiner.keras"], refiner_recipe(recipe), build_refiner, FLOAT32
    )
    patches = np.random.default_rng(0).integers(256, size=(3, 16, 16, 4), dtype=np.uint8)
    maps, _ = create(networks, flip=True).predict(patches)
    expected, _ = KerasEngine([network], flip=True).predict(patches)
    np.testing.assert_allclose(maps, expected, atol=1e-5)


@pytest.mark.parametrize(
    "precision", sorted({"float32", "bfloat16"} & set(openvino_engine.supported_precisions()))
)
def test_a_photo_has_the_same_map_in_any_batch_and_size(
    recipe: Recipe, paths: list[Path], photos: np.ndarray, precision: str
) -> None:
    networks, create = load_networks(paths, recipe, build, EngineConfig("openvino", precision))
    ensemble = FoldEnsemble(networks, SizeSpec(8), SIZE, tta="flip", engine=create)
    assert ensemble.any_size
    maps = ensemble.predict(photos).maps
    assert np.array_equal(maps[2:3], ensemble.predict(photos[2:3]).maps)
    assert ensemble.predict(photos[:2, :20, :30]).maps.shape == (2, 1, 20, 30)


def test_a_network_is_converted_once_and_again_when_it_changes(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    save(build(recipe), path)
    openvino_engine.load_network(path, recipe, build)
    (folder,) = tmp_path.glob("model-openvino-*/")
    written = (folder / "network.xml").stat().st_mtime_ns
    openvino_engine.load_network(path, recipe, build)
    assert (folder / "network.xml").stat().st_mtime_ns == written
    save(build(recipe.model_copy(update={"seed": 1})), path)
    openvino_engine.load_network(path, recipe, build)
    assert len(list(tmp_path.glob("model-openvino-*/"))) == 2


def test_git_ignores_the_conversion_of_weights_that_come_with_the_code(
    recipe: Recipe, paths: list[Path], tmp_path: Path
) -> None:
    weights = tmp_path / "weights" / "small"
    weights.mkdir(parents=True)
    shutil.copy(Path(__file__).parents[3] / ".gitignore", tmp_path)
    path = Path(shutil.copy(paths[0], weights))
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    openvino_engine.load_network(path, recipe, build)
    assert len(list(weights.iterdir())) > 1
    status = ["git", "-C", tmp_path, "status", "--porcelain", "--untracked-files=all", "weights"]
    done = subprocess.run(status, capture_output=True, text=True, check=True)
    assert done.stdout == f"?? weights/small/{path.name}\n"


@pytest.mark.parametrize("damage", ["changed weights", "no weights", "no layers", "no checksums", "a file"])
def test_a_damaged_conversion_is_made_again(
    recipe: Recipe, paths: list[Path], tmp_path: Path, photos: np.ndarray, damage: str
) -> None:
    path = Path(shutil.copy(paths[0], tmp_path))
    network = openvino_engine.load_network(path, recipe, build)
    expected, _ = openvino_engine.OpenVinoEngine([network], flip=False, precision="float32").predict(photos)
    (folder,) = tmp_path.glob("*-openvino-*/")
    match damage:
        case "changed weights":
            flip_bit_of_file(folder / "network.bin", 1000)
        case "no weights":
            (folder / "network.bin").unlink()
        case "no layers":
            (folder / "network.xml").write_text("")
        case "no checksums":
            (folder / "sha256.json").unlink()
        case "a file":
            shutil.rmtree(folder)
            folder.write_text("in the folder's place")
    again = openvino_engine.load_network(path, recipe, build)
    found, _ = openvino_engine.OpenVinoEngine([again], flip=False, precision="float32").predict(photos)
    assert np.array_equal(found, expected)
    assert read_network(folder) is not None
    assert not list(tmp_path.glob(".part-*"))


def test_a_damaged_network_in_int8_is_named(recipe: Recipe, paths: list[Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(paths[0], tmp_path))
    assert openvino_engine.load_quantized(path) is None
    quantized = quantized_file(path)
    write_network(openvino_engine.load_network(path, recipe, build), quantized.parent)
    assert openvino_engine.load_quantized(path) is not None
    flip_bit_of_file(quantized.with_suffix(".bin"), 1000)
    with pytest.raises(UserError, match=rf"{quantized.parent}: damaged; delete it"):
        openvino_engine.load_quantized(path)


def flip_bit_of_file(path: Path, place: int) -> None:
    path.write_bytes(flip_bit(path.read_bytes(), place, 0))
