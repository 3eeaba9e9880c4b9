"""Choice of a recipe's precision where it is `auto`: the one in which this machine trains faster."""

import filecmp
import gc
import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from carvana import console
from carvana.backend import AllDevices, Gpu, first_gpu, is_out_of_memory
from carvana.machine import describe_machine
from carvana.models.build import size_spec
from carvana.recipe import Recipe
from carvana.runs import Precision, RunDir, recipe_runs
from carvana.training.train_step import TrainStep

SpeedMeasure = Callable[[Recipe, AllDevices | None], float]
"""Measurement of a recipe's training, as `training_speed`."""

_WARMUP_STEPS = 2
"""Steps before the timed ones; the first compiles the network."""

_MAX_STEPS = 9
"""Timed steps of each precision, if they take less than `_MAX_SECONDS`."""

_MAX_SECONDS = 2.0
"""Seconds of timed steps after which no further one begins."""


def training_speed(recipe: Recipe, devices: AllDevices | None = None) -> float:
    """Time training steps on random photos and masks of the last stage's size and batch size.

    Args:
        recipe: a recipe whose precision is not `auto`.
        devices: devices that share each batch; by default one device.

    Returns:
        Photos per second; 0 if a micro-batch does not fit the device's memory.
    """
    try:
        return recipe.stages[-1].batch_size / _seconds_per_step(recipe, devices)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return 0.0
    finally:
        gc.collect()  # frees the device's memory for the next network


def resolve_precision(
    recipe: Recipe,
    run: RunDir,
    *,
    devices: AllDevices | None = None,
    reporter: console.Reporter = console,
    measure: SpeedMeasure = training_speed,
) -> Recipe:
    """Return the recipe with the precision that a run is trained in; a recipe with a fixed one is returned unchanged.

    The precision in the run's metadata is used if there is one, so that a resumed training does not change it.
    Otherwise another fold's measurement is used, if it was made for the same recipe on the same device. Otherwise the
    speed of training is measured. The precision, the device and the speeds are written into the run's metadata.
    On a GPU without bfloat16, `mixed_bfloat16` is treated as `auto`: float16 or float32 is chosen.

    Args:
        recipe: the recipe to train.
        run: a run whose recipe and metadata are written, and whose lock is held.
        devices: devices that share each batch; by default one device.
        reporter: receives a line about the choice.
        measure: measures the speed of a recipe.
    """
    metadata = run.read_metadata()
    if not (recipe.precision == "auto" or metadata.precision or _lacks_bfloat16(recipe)):
        return recipe
    if metadata.precision is None or metadata.step_per_s is None:
        gpu = first_gpu()
        device = gpu.name if gpu else describe_machine()
        speeds = _speeds_of_other_fold(run, metadata.backend, device)
        if speeds is None:
            speeds = _measure_speeds(recipe, gpu, devices, measure)
        chosen = max(speeds, key=speeds.__getitem__)
        run.write_metadata(
            metadata.model_copy(update={"precision": chosen, "device": device, "step_per_s": speeds})
        )
    else:
        chosen, speeds = metadata.precision, metadata.step_per_s
    reporter.message(f"{run.label}: precision {_choice(chosen, speeds)}")
    return _with_precision(recipe, chosen)


def with_faster_precision(recipe: Recipe, measure: SpeedMeasure = training_speed) -> Recipe:
    """Return the recipe with the faster precision if its precision is `auto`, for a network without a run."""
    if recipe.precision != "auto":
        return recipe
    speeds = _measure_speeds(recipe, first_gpu(), None, measure)
    return _with_precision(recipe, max(speeds, key=speeds.__getitem__))


def candidates(gpu: Gpu | None) -> tuple[Precision, Precision]:
    """Return the precisions to choose from: that of 16 bits, which is taken if both are equally fast, and float32."""
    half: Precision = "mixed_bfloat16" if gpu is None or gpu.has_bfloat16 else "mixed_float16"
    return half, "float32"


def _lacks_bfloat16(recipe: Recipe) -> bool:
    """Return whether a recipe demands bfloat16 of a GPU without it."""
    gpu = first_gpu() if recipe.precision == "mixed_bfloat16" else None
    return gpu is not None and not gpu.has_bfloat16


def _measure_speeds(
    recipe: Recipe, gpu: Gpu | None, devices: AllDevices | None, measure: SpeedMeasure
) -> dict[Precision, float]:
    """Return the photos per second in each precision."""
    return {
        precision: round(measure(_with_precision(recipe, precision), devices), 2)
        for precision in candidates(gpu)
    }


def _seconds_per_step(recipe: Recipe, devices: AllDevices | None) -> float:
    """Return the median seconds of a step. With a learning rate of 0, the weights stay as they are."""
    stage, spec, rng = recipe.stages[-1], size_spec(recipe), np.random.default_rng(0)
    photos = rng.integers(256, size=(stage.batch_size, *spec.input_size(stage.size), 3), dtype=np.uint8)
    masks = rng.integers(2, size=(stage.batch_size, *spec.map_size(stage.size), 1)).astype(np.float32)
    # Most epochs train the encoder, too.
    train_step = TrainStep(recipe.model_copy(update={"freeze_encoder_epochs": 0}), devices=devices)
    train_step.start_stage(stage)
    for _ in range(_WARMUP_STEPS):
        train_step.step(photos, masks, 0.0)
    seconds: list[float] = []
    while len(seconds) < _MAX_STEPS and sum(seconds) < _MAX_SECONDS:
        start = time.perf_counter()
        train_step.step(photos, masks, 0.0)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def _speeds_of_other_fold(run: RunDir, backend: str, device: str) -> dict[Precision, float] | None:
    """Return the speeds that another fold of the same recipe has recorded with a backend on a device."""
    for other in recipe_runs(run.folder.parent):
        if not (other.metadata.is_file() and other.recipe.is_file()):
            continue
        metadata = other.read_metadata()
        same_machine = (metadata.backend, metadata.device) == (backend, device)
        if same_machine and filecmp.cmp(other.recipe, run.recipe, shallow=False):
            return metadata.step_per_s
    return None


def _choice(chosen: Precision, speeds: Mapping[Precision, float]) -> str:
    """Describe the chosen precision and the speeds, e.g. `mixed_bfloat16, 21.3 photos/s (float32: 13.1)`."""
    others = ", ".join(f"{name}: {speed:,.1f}" for name, speed in speeds.items() if name != chosen)
    return f"{chosen}, {speeds[chosen]:,.1f} photos/s ({others})"


def _with_precision(recipe: Recipe, precision: str) -> Recipe:
    return recipe.model_copy(update={"precision": precision})
