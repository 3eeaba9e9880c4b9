"""Prediction by a whole ensemble at its full size: photos per second, GPU utilization, hours for the test set.

    ./run.sh benchmark ensemble --data $CARVANA_DATA

Everything is as in a real prediction, except that the weights are random; the networks' maps are therefore replaced
by masks of real cars.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from prediction import TEST_CARS, FixedMaps, maps_of_cars, repeated, time_prediction

from carvana import commandline, console, machine
from carvana.competition.names import ANGLES
from carvana.data.dataset import test_samples
from carvana.inference.pipeline import BATCH_SIZE
from carvana.inference.predictors import FoldEnsemble
from carvana.models.build import build, size_spec
from carvana.recipe import read_recipe
from carvana.training.precision import with_faster_precision


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="The networks' recipe.")] = "single",
    folds: Annotated[int, typer.Option(min=1, help="Number of networks.")] = 5,
    photos: Annotated[int, typer.Option(min=1, help="Number of photos.")] = 1024,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the recipe; may be repeated.")
    ] = None,
) -> None:
    """Measure the prediction of photos into a submission by an ensemble.

    Example:

        ./run.sh benchmark ensemble --data $CARVANA_DATA --recipe single --folds 5
    """
    spec = read_recipe(recipe, set_ or [])
    if spec.model != "unet":  # random weights need no download
        spec = read_recipe(recipe, ["model.weights=none", "freeze_encoder_epochs=0", *(set_ or [])])
    spec = with_faster_precision(spec)
    models = [build(spec.model_copy(update={"seed": fold})) for fold in range(folds)]
    networks = FoldEnsemble(models, size_spec(spec), spec.size, tta=spec.tta)
    predictor = FixedMaps(spec.size, maps_of_cars(data, spec.size), networks)
    chosen = repeated(test_samples(data), photos)
    time_prediction(chosen[: 2 * BATCH_SIZE], predictor)  # compiles the networks
    with _gpu_use() as gpu:
        seconds, bottleneck = time_prediction(chosen, predictor)
    rate = photos / seconds
    device, busy, memory = gpu() or (f"{machine.describe_machine()}, no GPU", "", "")
    console.show_table(
        f"{folds} x {spec.name}, tta {spec.tta}, {spec.size[1]}x{spec.size[0]}, on {device}",
        ["photos", "photos/s", "hours for the test set", "GPU busy", "GPU memory", "slowest step"],
        [
            [
                f"{photos:,}",
                f"{rate:,.2f}",
                f"{TEST_CARS * ANGLES / rate / 3600:,.1f}",
                busy,
                memory,
                bottleneck,
            ]
        ],
        left=0,
    )


@contextmanager
def _gpu_use() -> Iterator[Callable[[], tuple[str, str, str] | None]]:
    """Measure the GPU; yields a function that returns its name, mean utilization and peak memory, or None."""
    if not shutil.which("nvidia-smi"):
        yield lambda: None
        return
    query = ["nvidia-smi", "--query-gpu=name,utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    monitor = subprocess.Popen([*query, "--loop-ms=200"], stdout=subprocess.PIPE, text=True)

    def measured() -> tuple[str, str, str]:
        monitor.terminate()
        lines = [line.split(", ") for line in monitor.communicate()[0].splitlines()]
        names, busy, memory = zip(*(line for line in lines if len(line) == 3), strict=True)
        return names[0], f"{np.mean([int(share) for share in busy]):.0f}%", f"{max(map(int, memory)):,} MiB"

    try:
        yield measured
    finally:
        monitor.terminate()


if __name__ == "__main__":
    commandline.run(benchmark)
