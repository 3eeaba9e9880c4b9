"""The comparison of engines with Keras, by which prediction is allowed to use them."""

from pathlib import Path

import pytest
from benchmarks import engines as door

from carvana.backend import keras
from carvana.data.dataset import train_samples
from carvana.evaluation.engine_choice import difference_from_keras, engine_scores_path, score_engine
from carvana.inference.config import KERAS, EngineConfig
from carvana.models.build import build, save
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import RunDir

FLOAT32 = EngineConfig("openvino", "float32")
RECIPE = """
base_filters = 4
depth = 1
stages = [{size = [32, 48], epochs = 1, batch_size = 8, learning_rate = 1e-2}]
"""


@pytest.fixture
def run(rendered: Path, tmp_path: Path) -> RunDir:
    """An untrained run, whose held-out photos are all photos of the data."""
    (tmp_path / "small.toml").write_text(RECIPE)
    recipe = read_recipe(str(tmp_path / "small.toml"))
    run = RunDir(tmp_path / "runs" / "small" / "fold-0")
    run.folder.mkdir(parents=True)
    write_recipe(recipe, run.recipe)
    save(build(recipe), run.model)
    score_engine(run, train_samples(rendered), KERAS, lambda *_: None)
    engine_scores_path(run, KERAS).rename(run.scores)
    return run


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converting networks needs TensorFlow")
def test_engines_are_compared_once(
    run: RunDir, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    for message in ("photos in", "compared with openvino-float32 already"):
        door.benchmark(rendered, str(tmp_path / "small.toml"), "0", tmp_path / "runs", int8=False)
        text = capsys.readouterr().out
        assert message in text
        assert "times Keras" in text
    difference = difference_from_keras([run], FLOAT32)
    assert difference is not None
    assert abs(difference.dice) < 1e-3
