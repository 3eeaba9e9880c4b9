"""Networks in INT8, calibrated on training photos."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carvana.backend import keras
from carvana.data.dataset import Sample, train_samples
from carvana.inference.config import EngineConfig, EnsembleMember, PredictionConfig
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import WeightedEnsemble
from carvana.models.build import build, save
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe, write_recipe
from carvana.runs import RunDir

pytest.importorskip("nncf", reason="NNCF is not installed")
quantization = pytest.importorskip("carvana.training.quantization", reason="OpenVINO is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("converting networks needs TensorFlow", allow_module_level=True)

STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]"
REFINE = "refine={size=[64, 96], patch=16, spacing=8, base_filters=4, depth=1, patches_per_photo=8}"


@pytest.fixture(scope="module")
def samples(rendered: Path) -> list[Sample]:
    return train_samples(rendered)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run with untrained networks in float32."""
    recipe = _recipe()
    run = RunDir(tmp_path / "fold-0")
    run.folder.mkdir()
    write_recipe(recipe, run.recipe)
    save(build(recipe), run.model)
    save(build_refiner(refiner_recipe(recipe)), run.refiner)
    return run


def _recipe() -> Recipe:
    return read_recipe("miniature", ["base_filters=4", "depth=2", "precision=float32", STAGE, REFINE])


def test_quantised_networks_predict_about_the_same(
    run: RunDir, samples: list[Sample], capsys: pytest.CaptureFixture
) -> None:
    quantization.quantize_run(run, samples)
    assert len(capsys.readouterr().out.splitlines()) == 1  # the progress of this project alone
    config = PredictionConfig((EnsembleMember("fast", 1.0, _recipe(), (run,)),))
    int8 = replace(config, engine=EngineConfig("openvino", "int8"))
    for expected, found in zip(_predict(config, samples[:2]), _predict(int8, samples[:2]), strict=True):
        np.testing.assert_allclose(found.coarse, expected.coarse, atol=0.02)  # not quantised
        assert 0 < np.abs(found.maps - expected.maps).mean() < 0.05


def test_the_first_network_is_quantised_if_it_is_the_only_one(run: RunDir, samples: list[Sample]) -> None:
    run.refiner.unlink()
    quantization.quantize_run(run, samples)
    assert [path.name[:10] for path in run.folder.glob("*-int8-*/")] == ["model-int8"]


def _predict(config: PredictionConfig, samples: list[Sample]) -> Iterator[Prediction]:
    return predict_stream(WeightedEnsemble.load(config), samples, lambda prediction: prediction)


def test_networks_are_quantised_once_and_are_part_of_the_fingerprint(
    run: RunDir, samples: list[Sample]
) -> None:
    quantization.quantize_run(run, samples[:4])
    files = sorted(run.folder.glob("*-int8-*/*"))
    assert [path.name for path in files] == ["network.bin", "network.xml", "sha256.json"]
    written = [path.stat().st_mtime_ns for path in files]
    quantization.quantize_run(run, samples[4:])
    assert [path.stat().st_mtime_ns for path in files] == written
    member = EnsembleMember("fast", 1.0, _recipe(), (run,))
    config = PredictionConfig((member,), engine=EngineConfig("openvino", "int8"))
    before = config.fingerprint()
    weights = next(path for path in files if path.suffix == ".bin")
    weights.write_bytes(weights.read_bytes()[::-1])
    assert config.fingerprint() != before
