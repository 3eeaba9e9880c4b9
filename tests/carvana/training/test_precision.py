"""The precision `auto`: measured when a run begins, recorded, and kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carvana.backend import AllDevices, Gpu
from carvana.data.split import Split
from carvana.models.build import build, load
from carvana.recipe import Recipe, read_recipe, write_recipe
from carvana.runs import RunDir, RunMetadata, finished_runs, run_dir
from carvana.training import precision
from carvana.training.cross_validation import train_folds
from carvana.training.precision import (
    SpeedMeasure,
    candidates,
    resolve_precision,
    training_speed,
    with_faster_precision,
)

METADATA = RunMetadata(table="two", folds=[0, 1], split="0a1b", backend="tensorflow", keras="3.0")

STAGE = "stages=[{size=[32, 48], epochs=1, batch_size=4, learning_rate=1e-3}]"


def _recipe(*changes: str) -> Recipe:
    return read_recipe("miniature", ["base_filters=2", "depth=1", STAGE, "precision=auto", *changes])


def _speeds(**photos_per_s: float) -> SpeedMeasure:
    """Return a measurement with the given results."""
    return lambda recipe, devices: photos_per_s[recipe.precision]


def _no_measurement(recipe: Recipe, devices: AllDevices | None) -> float:
    raise AssertionError("the speed must not be measured again")


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., RunDir]:
    """A function that begins the run of a recipe on a fold."""

    def begin_run(recipe: Recipe, fold: int = 0, backend: str = "tensorflow") -> RunDir:
        run = run_dir(tmp_path, recipe, fold)
        run.folder.mkdir(parents=True)
        write_recipe(recipe, run.recipe)
        run.write_metadata(METADATA.model_copy(update={"backend": backend}))
        return run

    return begin_run


@pytest.mark.parametrize(
    ("float32", "bfloat16", "expected"),
    [
        (13.1, 21.3, "mixed_bfloat16"),
        (15.0, 10.0, "float32"),
        (10.0, 0.0, "float32"),  # bfloat16 does not fit the memory
        (0.0, 0.0, "mixed_bfloat16"),  # of both, the one that needs less
    ],
)
def test_the_faster_precision_is_chosen_and_recorded(
    begin: Callable[..., RunDir], float32: float, bfloat16: float, expected: str
) -> None:
    run = begin(_recipe())
    measure = _speeds(float32=float32, mixed_bfloat16=bfloat16)
    assert resolve_precision(_recipe(), run, measure=measure) == _recipe(f"precision={expected}")
    metadata = run.read_metadata()
    assert metadata.precision == expected
    assert metadata.step_per_s == {"float32": float32, "mixed_bfloat16": bfloat16}
    assert metadata.folds == [0, 1]


def test_the_choice_is_printed(begin: Callable[..., RunDir], capsys: pytest.CaptureFixture[str]) -> None:
    resolve_precision(_recipe(), begin(_recipe()), measure=_speeds(float32=13.1, mixed_bfloat16=21.34))
    assert capsys.readouterr().out == "fold 0: precision mixed_bfloat16, 21.3 photos/s (float32: 13.1)\n"


def test_a_resumed_run_keeps_its_precision(begin: Callable[..., RunDir]) -> None:
    run = begin(_recipe())
    first = resolve_precision(_recipe(), run, measure=_speeds(float32=2, mixed_bfloat16=1))
    assert resolve_precision(_recipe(), run, measure=_no_measurement) == first


def test_a_fixed_precision_is_not_measured(begin: Callable[..., RunDir]) -> None:
    recipe = _recipe("precision=mixed_float16")
    run = begin(recipe)
    assert resolve_precision(recipe, run, measure=_no_measurement) == recipe
    assert with_faster_precision(recipe, _no_measurement) == recipe
    assert run.read_metadata().precision is None


def test_bfloat16_is_never_demanded_of_a_gpu_without_it(
    begin: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe("precision=mixed_bfloat16")
    run = begin(recipe)
    monkeypatch.setattr(precision, "first_gpu", lambda: Gpu("Tesla T4", has_bfloat16=False))
    first = resolve_precision(recipe, run, measure=_speeds(float32=1, mixed_float16=2))
    assert first.precision == "mixed_float16"
    monkeypatch.setattr(precision, "first_gpu", lambda: Gpu("A100", has_bfloat16=True))
    assert resolve_precision(recipe, run, measure=_no_measurement) == first  # a resumed run keeps it
    assert resolve_precision(recipe, begin(recipe, 1), measure=_no_measurement) == recipe


def test_another_fold_on_the_same_device_uses_the_measurement(begin: Callable[..., RunDir]) -> None:
    first, second = begin(_recipe(), 0), begin(_recipe(), 1)
    resolve_precision(_recipe(), first, measure=_speeds(float32=2, mixed_bfloat16=1))
    assert resolve_precision(_recipe(), second, measure=_no_measurement).precision == "float32"
    recorded = [run.read_metadata() for run in (first, second)]
    assert recorded[0] == recorded[1]


@pytest.mark.parametrize("difference", ["recipe", "backend", "device"])
def test_another_fold_measures_anew_if_something_else_differs(
    begin: Callable[..., RunDir], difference: str
) -> None:
    recipe = _recipe("base_filters=4") if difference == "recipe" else _recipe()
    first = begin(_recipe(), 0)
    second = begin(recipe, 1, backend="jax" if difference == "backend" else "tensorflow")
    resolve_precision(_recipe(), first, measure=_speeds(float32=2, mixed_bfloat16=1))
    if difference == "device":
        first.write_metadata(first.read_metadata().model_copy(update={"device": "Tesla T4"}))
    resolved = resolve_precision(recipe, second, measure=_speeds(float32=1, mixed_bfloat16=2))
    assert resolved.precision == "mixed_bfloat16"


def test_a_folder_that_is_no_fold_is_not_read(begin: Callable[..., RunDir]) -> None:
    run = begin(_recipe())
    stray = run.folder.with_name("fold-1.bak")
    stray.mkdir()
    (stray / "metadata.json").touch()
    (stray / "recipe.toml").touch()
    assert (
        resolve_precision(_recipe(), run, measure=_speeds(float32=2, mixed_bfloat16=1)).precision == "float32"
    )


def test_float16_replaces_bfloat16_on_a_gpu_without_it() -> None:
    assert candidates(None) == ("mixed_bfloat16", "float32")
    assert candidates(Gpu("NVIDIA A100", has_bfloat16=True)) == ("mixed_bfloat16", "float32")
    assert candidates(Gpu("Tesla T4", has_bfloat16=False)) == ("mixed_float16", "float32")


def test_a_network_without_a_run_is_built_in_the_faster_precision() -> None:
    recipe = with_faster_precision(_recipe(), _speeds(float32=1, mixed_bfloat16=2))
    assert build(recipe).get_layer("encoder0_conv1").compute_dtype == "bfloat16"


def test_a_network_is_not_built_before_its_precision_is_resolved() -> None:
    with pytest.raises(ValueError, match="before its precision is resolved"):
        build(_recipe())


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["padding=valid", "norm=none", "ema_decay=0.9"],
        ["stages.0.accumulation_steps=2", "precision=mixed_float16"],
    ],
)
def test_the_speed_of_any_recipe_can_be_measured(changes: list[str]) -> None:
    assert training_speed(_recipe("precision=mixed_bfloat16", *changes)) > 0


def test_auto_trains_like_the_precision_that_it_chooses(split: Split, tmp_path: Path) -> None:
    """The run's recipe keeps `auto`, so that prediction and a second training accept it."""
    (run,) = train_folds(_recipe(), split, [0], tmp_path / "auto")
    metadata = run.read_metadata()
    speeds = metadata.step_per_s
    assert sorted(speeds) == ["float32", "mixed_bfloat16"]
    assert speeds[metadata.precision] == max(speeds.values())
    assert min(speeds.values()) > 0
    assert run.read_recipe().precision == "auto"
    assert finished_runs(tmp_path / "auto", _recipe(), 0) == [run]
    assert train_folds(_recipe(), split, [0], tmp_path / "auto") == [run]

    fixed = _recipe(f"precision={metadata.precision}")
    (expected,) = train_folds(fixed, split, [0], tmp_path / "fixed")
    for weights, others in zip(
        load(run.model).get_weights(), load(expected.model).get_weights(), strict=True
    ):
        assert np.array_equal(weights, others)
