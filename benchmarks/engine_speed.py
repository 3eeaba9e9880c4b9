"""Speed of each engine, beside ONNX Runtime and the loop that most repositories have; all ratios are of one run.

    ./run.sh benchmark engine_speed --weights fast --data $CARVANA_DATA

The first tables are of the networks alone, the last one is of whole predictions from photos to a submission, with and
without flips and refinement. Networks in INT8 are measured where `benchmark engines --int8` has made them.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from prediction import maps_of_cars, obvious_prediction, repeated, time_prediction

from carvana import commandline, console, machine
from carvana.competition import rle
from carvana.data.dataset import Sample, test_samples
from carvana.errors import UserError
from carvana.evaluation.engine_choice import engines_to_compare
from carvana.inference.config import KERAS, EngineConfig, quantized_file
from carvana.inference.engines import KerasEngine, load_networks
from carvana.inference.export import export_ensemble, load_float32
from carvana.inference.pipeline import BATCH_SIZE
from carvana.inference.predictors import FoldEnsemble
from carvana.inference.standalone import Pipeline
from carvana.models.build import build
from carvana.models.refiner import CHANNELS, build_refiner, refiner_recipe
from carvana.recipe import Recipe, read_recipe
from carvana.runs import RunDir
from carvana.weights import find_weights

_PATCHES = 256
"""Patches per call of a refinement network."""

_CALLS = 4
"""Calls of a network per round."""

_LOOP_SHARE = 8
"""The photos are divided by this number for the loops, which are slower."""

Work = Callable[[], int]
"""Work to be timed; returns the number of photos or patches."""


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    weights: Annotated[
        str, typer.Option(help="Weights that come with the code, or a run's folder, e.g. runs/fast/fold-0.")
    ] = "fast",
    photos: Annotated[int, typer.Option(min=16, help="Number of photos of a whole prediction.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 3,
) -> None:
    """Measure the speed of all engines of this machine.

    Example:

        ./run.sh benchmark engine_speed --weights fast --data $CARVANA_DATA
    """
    if find_spec("onnxruntime") is None:
        raise UserError(
            "ONNX Runtime is not installed; `./run.sh test` installs it, with all that tests need"
        )
    run = find_weights(weights)
    recipe = read_recipe(str(run.recipe))
    engines = [KERAS, *engines_to_compare()]
    if not any(quantized_file(path).is_file() for path in run.networks):
        engines = [engine for engine in engines if engine.precision != "int8"]
    rounds_text = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    machine_text = f"{machine.describe_machine()}, {rounds_text}"
    chosen = repeated(test_samples(data), photos)
    for flip, refines in product((False, True), (False, True) if recipe.refine else (False,)):
        spec = _variant(recipe, flip, refines)
        title = f"{'flips' if flip else 'no flips'}, {machine_text}"
        with tempfile.TemporaryDirectory() as folder:
            list(export_ensemble([run], spec, Path(folder), "network", ["onnx"]))
            exported = Path(folder) / "network.onnx"
            if refines:
                works = _refiner_works(run, spec, engines, exported.with_name("network-refiner.onnx"))
                _show(f"Refinement network alone, {title}", "patches/s", works, rounds)
            else:
                works = _network_works(run, spec, engines, exported)
                _show(f"First network alone, {title}", "photos/s", works, rounds)
            works = _prediction_works(run, spec, engines, exported, chosen)
            if not (flip or refines):
                works["the common loop"] = _common_loop(run, spec, data, chosen)
            whole = f"Whole prediction{' with refinement' if refines else ''}"
            _show(f"{whole}, {title}", "photos/s", works, rounds)


def _variant(recipe: Recipe, flip: bool, refines: bool) -> Recipe:
    """Return the recipe with or without flips and refinement."""
    return recipe.model_copy(
        update={"tta": "flip" if flip else "none", "refine": recipe.refine if refines else None}
    )


def _show(title: str, unit: str, works: Mapping[str, Work], rounds: int) -> None:
    """Time works by turns, after a first round that is not counted, and print their rates as a table."""
    rates = np.array([[_rate(work) for work in works.values()] for _ in range(rounds + 1)])[1:]
    medians, ratios = np.median(rates, axis=0), np.median(rates / rates[:, :1], axis=0)
    rows = [
        [name, f"{rate:,.1f}", f"{ratio:.2f}"]
        for name, rate, ratio in zip(works, medians, ratios, strict=True)
    ]
    console.show_table(title, ["computed by", unit, "times Keras"], rows)


def _rate(work: Work) -> float:
    began = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - began)


def _network_works(
    run: RunDir, recipe: Recipe, engines: list[EngineConfig], exported: Path
) -> dict[str, Work]:
    """Return the first network's predictions of random photos."""
    photos = _random((BATCH_SIZE, *recipe.size, 3))
    return _works_alone(run.model, recipe, build, engines, exported, photos)


def _refiner_works(
    run: RunDir, recipe: Recipe, engines: list[EngineConfig], exported: Path
) -> dict[str, Work]:
    """Return the refinement network's predictions of random patches."""
    spec = refiner_recipe(recipe).model_copy(update={"tta": recipe.tta})
    patches = _random((_PATCHES, *spec.size, CHANNELS))
    return _works_alone(run.refiner, spec, build_refiner, engines, exported, patches)


def _works_alone(
    path: Path,
    recipe: Recipe,
    build_model: Callable[[Recipe], object],
    engines: list[EngineConfig],
    exported: Path,
    inputs: np.ndarray,
) -> dict[str, Work]:
    import onnxruntime  # only the tests' requirements have it

    flip = recipe.tta == "flip"
    session = onnxruntime.InferenceSession(exported)
    name = session.get_inputs()[0].name
    works = {}
    for engine in engines:
        networks, create = load_networks([path], recipe, build_model, engine)
        works[engine.name] = _repeat(create(networks, flip=flip).predict, inputs)
    in_float32 = KerasEngine([load_float32(path, recipe, build_model)], flip=flip)
    works["Keras in float32"] = _repeat(in_float32.predict, inputs)
    works["ONNX Runtime"] = _repeat(lambda batch: session.run(None, {name: batch}), inputs)
    return works


def _prediction_works(
    run: RunDir, recipe: Recipe, engines: list[EngineConfig], exported: Path, photos: list[Sample]
) -> dict[str, Work]:
    """Return predictions of photos into a submission, by each engine and by the exported script."""
    works = {}
    for engine in engines:
        works[engine.name] = _whole_prediction(FoldEnsemble.load([run], recipe, engine=engine), photos)
    works["exported script, ONNX Runtime"] = _exported_loop(Pipeline(exported), photos)
    return works


def _whole_prediction(ensemble: FoldEnsemble, photos: list[Sample]) -> Work:
    def work() -> int:
        time_prediction(photos, ensemble)
        return len(photos)

    return work


def _exported_loop(pipeline: Pipeline, photos: list[Sample]) -> Work:
    few = photos[: len(photos) // _LOOP_SHARE]

    def work() -> int:
        for photo in few:
            pixels = cv2.cvtColor(cv2.imread(str(photo.path)), cv2.COLOR_BGR2RGB)
            rle.edges_to_rle(rle.mask_to_edges(pipeline.predict(pixels)))
        return len(few)

    return work


def _common_loop(run: RunDir, recipe: Recipe, data: Path, photos: list[Sample]) -> Work:
    """Return the loop over photos that most repositories have."""
    (network,), _ = load_networks([run.model], recipe, build, KERAS)
    maps, few = maps_of_cars(data, recipe.size), photos[: len(photos) // _LOOP_SHARE]

    def work() -> int:
        obvious_prediction(few, recipe.size, network, maps)
        return len(few)

    return work


def _repeat(predict: Callable[[np.ndarray], object], inputs: np.ndarray) -> Work:
    def work() -> int:
        for _ in range(_CALLS):
            predict(inputs)
        return _CALLS * len(inputs)

    return work


def _random(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


if __name__ == "__main__":
    commandline.run(benchmark)
