"""The choice of an engine: by speed, by accuracy, and by what the machine has."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.backend import Gpu, keras
from carvana.competition.names import photo_name
from carvana.errors import UserError
from carvana.evaluation import engine_choice
from carvana.evaluation.engine_choice import (
    MIN_PHOTOS,
    SpeedMeasure,
    choose_engine,
    difference_from_keras,
    engine_scores_path,
    is_accurate,
)
from carvana.inference.config import KERAS, EngineConfig, EnsembleMember, PredictionConfig
from carvana.recipe import read_recipe
from carvana.runs import RunDir
from carvana.tables import write_csv

FLOAT32, BFLOAT16 = EngineConfig("openvino", "float32"), EngineConfig("openvino", "bfloat16")
PHOTOS = [photo_name(f"{car:012x}", angle) for car in range(20) for angle in (1, 2)]
SPEEDS = {KERAS: 40.0, FLOAT32: 60.0, BFLOAT16: 90.0}


def _speeds(speeds: dict[EngineConfig, float]) -> SpeedMeasure:
    """Return a measurement with the given results."""
    return lambda member, engine: speeds[engine]


def _no_measurement(member: EnsembleMember, engine: EngineConfig) -> float:
    raise AssertionError("no speed may be measured")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run, whose held-out photos have a Dice of 0.99 each."""
    run = RunDir(tmp_path / "fold-0")
    run.folder.mkdir()
    run.model.write_bytes(b"a network")
    write_csv(pd.DataFrame({"img": PHOTOS, "dice": 0.99}), run.scores)
    return run


@pytest.fixture
def config(run: RunDir) -> PredictionConfig:
    recipe = read_recipe("miniature")
    return PredictionConfig((EnsembleMember(recipe.name, 1.0, recipe, (run,)),))


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without a GPU, for which OpenVINO has bfloat16."""
    module = pytest.importorskip("carvana.inference.openvino_engine", reason="OpenVINO is not installed")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("converting networks needs TensorFlow")
    monkeypatch.setattr(module, "supported_precisions", lambda: ["float32", "bfloat16"])
    monkeypatch.setattr(engine_choice, "first_gpu", lambda: None)


def _write_scores(run: RunDir, engine: EngineConfig, loss: float) -> None:
    """Write the scores of an engine that loses on average `loss` of Dice on each photo."""
    noise = np.random.default_rng(0).normal(0, 1e-6, len(PHOTOS))
    write_csv(pd.DataFrame({"img": PHOTOS, "dice": 0.99 - loss + noise}), engine_scores_path(run, engine))


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize(("keras_speed", "expected"), [(40.0, FLOAT32), (70.0, KERAS)])
def test_the_fastest_engine_is_chosen_and_an_unknown_accuracy_is_named(
    config: PredictionConfig, keras_speed: float, expected: EngineConfig, capsys: pytest.CaptureFixture
) -> None:
    measure = _speeds({**SPEEDS, KERAS: keras_speed})
    assert choose_engine("auto", config, MIN_PHOTOS, measure=measure) == expected
    assert "openvino-bfloat16: not compared by `./run.sh benchmark engines`" in capsys.readouterr().out


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize(("loss", "expected"), [(-1e-4, BFLOAT16), (2e-5, BFLOAT16), (6e-5, FLOAT32)])
def test_bfloat16_is_chosen_only_if_it_is_as_accurate_as_keras(
    config: PredictionConfig, run: RunDir, loss: float, expected: EngineConfig
) -> None:
    _write_scores(run, BFLOAT16, loss)
    assert is_accurate(difference_from_keras([run], BFLOAT16), BFLOAT16) == (expected == BFLOAT16)
    for name in ("auto", "openvino"):
        assert choose_engine(name, config, MIN_PHOTOS, measure=_speeds(SPEEDS)) == expected


@pytest.mark.usefixtures("openvino")
def test_scores_of_other_networks_do_not_count(run: RunDir) -> None:
    _write_scores(run, BFLOAT16, 0.0)
    assert difference_from_keras([run], BFLOAT16) is not None
    run.model.write_bytes(b"another network")
    assert difference_from_keras([run], BFLOAT16) is None


@pytest.mark.usefixtures("openvino")
def test_a_choice_is_measured_once(config: PredictionConfig, run: RunDir) -> None:
    first = choose_engine("auto", config, MIN_PHOTOS, measure=_speeds(SPEEDS))
    assert choose_engine("auto", config, MIN_PHOTOS, measure=_no_measurement) == first
    (kept,) = run.folder.glob("engine-speeds-*.json")
    kept.write_text("{")
    assert choose_engine("auto", config, MIN_PHOTOS, measure=_speeds(SPEEDS)) == first


@pytest.mark.usefixtures("openvino")
def test_keras_is_used_on_a_gpu_and_for_few_photos(
    config: PredictionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_engine("keras", config, MIN_PHOTOS, measure=_no_measurement) == KERAS
    assert choose_engine("auto", config, MIN_PHOTOS - 1, measure=_no_measurement) == KERAS
    monkeypatch.setattr(engine_choice, "first_gpu", lambda: Gpu("a GPU", has_bfloat16=True))
    assert choose_engine("auto", config, MIN_PHOTOS, measure=_no_measurement) == KERAS
    assert choose_engine("openvino", config, 1, measure=_no_measurement) == FLOAT32


def test_saved_maps_need_no_engine(tmp_path: Path) -> None:
    config = PredictionConfig((EnsembleMember("maps", 1.0, maps=tmp_path),))
    assert choose_engine("openvino", config, MIN_PHOTOS, measure=_no_measurement) == KERAS


def test_a_machine_without_openvino_uses_keras(
    config: PredictionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None)
    assert choose_engine("auto", config, MIN_PHOTOS, measure=_no_measurement) == KERAS
    with pytest.raises(UserError, match="--engine openvino: OpenVINO is not installed"):
        choose_engine("openvino", config, 1, measure=_no_measurement)
