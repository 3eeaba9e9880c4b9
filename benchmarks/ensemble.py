"""Prediction by a whole ensemble at its full size: photos a second_area, how busy the GPU is, hours for the test set.

    ./run.sh benchmark ensemble --data $CARVANA_DATA

All is as in prediction but the weights, which are random, and so what the networks say: in its place stand the masks
of real cars.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from prediction import TEST_CARS, Constant, maps_of_cars, ours, repeated

from carvana import console, machine
from carvana.competition.names import ANGLES
from carvana.data.dataset import test_samples
from carvana.inference.ensemble import ModelEnsemble
from carvana.inference.pipeline import BATCH
from carvana.models.build import build, size_spec
from carvana.recipe import read_recipe


def benchmark(
    data: Annotated[Path, typer.Option(help="A folder of the competition's form.")] = Path("data"),
    recipe: Annotated[str, typer.Option(help="Of the networks.")] = "single",
    folds: Annotated[int, typer.Option(min=1, help="How many networks.")] = 5,
    photos: Annotated[int, typer.Option(min=1, help="How many photos take part.")] = 1024,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the recipe; may be repeated.")
    ] = None,
) -> None:
    """Measure prediction by an ensemble, from photos to a submission.

    Example:

        ./run.sh benchmark ensemble --data $CARVANA_DATA --recipe single --folds 5
    """
    asked = read_recipe(recipe, set_ or [])
    if asked.model != "unet":  # whose weights would only be downloaded
        asked = read_recipe(recipe, ["model.weights=none", "freeze_encoder_epochs=0", *(set_ or [])])
    models = [build(asked.model_copy(update={"seed": fold})) for fold in range(folds)]
    networks = ModelEnsemble(models, size_spec(asked), tta=asked.tta)
    source = Constant(asked.size, maps_of_cars(data, asked.size), networks)
    chosen = repeated(test_samples(data), photos)
    ours(chosen[: 2 * BATCH], source)  # compiles the networks
    with _gpu_use() as gpu:
        taken, slowest = ours(chosen, source)
    rate = photos / taken
    device, busy, memory = gpu() or (f"{machine.describe_machine()}, no GPU", "", "")
    console.show_table(
        f"{folds} x {asked.name}, tta {asked.tta}, {asked.size[1]}x{asked.size[0]}, on {device}",
        ["photos", "photos/s", "hours for the test set", "GPU busy", "GPU memory", "slowest stage"],
        [
            [
                f"{photos:,}",
                f"{rate:,.2f}",
                f"{TEST_CARS * ANGLES / rate / 3600:,.1f}",
                busy,
                memory,
                slowest.removeprefix("slowest: "),
            ]
        ],
        left=0,
    )


@contextmanager
def _gpu_use() -> Iterator:
    """Watch the GPU; the function given tells its name, the mean share of time it was busy, and its most memory."""
    if not shutil.which("nvidia-smi"):
        yield lambda: None
        return
    query = ["nvidia-smi", "--query-gpu=name,utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    watching = subprocess.Popen([*query, "--loop-ms=200"], stdout=subprocess.PIPE, text=True)

    def told() -> tuple[str, str, str]:
        watching.terminate()
        lines = [line.split(", ") for line in watching.communicate()[0].splitlines()]
        names, busy, memory = zip(*(line for line in lines if len(line) == 3), strict=True)
        return names[0], f"{np.mean([int(share) for share in busy]):.0f}%", f"{max(map(int, memory)):,} MiB"

    try:
        yield told
    finally:
        watching.terminate()


if __name__ == "__main__":
    console.run(benchmark)
