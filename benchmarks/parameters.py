"""Number of parameters of the recipes' networks, and their size in float32.

./run.sh benchmark parameters --recipe fast --recipe hour
"""

from typing import Annotated

import typer

from carvana import commandline, console
from carvana.models.build import build
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import RECIPES, Encoder, Recipe, read_recipe

_BYTES = 4
"""Bytes of a parameter in float32."""


def benchmark(
    recipe: Annotated[
        list[str] | None, typer.Option(help="A recipe; may be repeated. [default: all of src/recipes]")
    ] = None,
) -> None:
    """Count the parameters of each recipe's network and refinement network, which are built without weights."""
    names = recipe or sorted(path.stem for path in RECIPES.glob("*.toml"))
    rows = []
    for name in names:
        network, refiner = count_parameters(read_recipe(name))
        size = f"{_BYTES * (network + refiner) / 1e6:.1f}"
        rows.append([name, f"{network:,}", f"{refiner:,}" if refiner else "", size])
    console.show_table("Parameters", ["recipe", "network", "refinement", "MB in float32"], rows)


def count_parameters(recipe: Recipe) -> tuple[int, int]:
    """Return the numbers of parameters of a recipe's network and of its refinement network (0 without one)."""
    model = recipe.model
    if isinstance(model, Encoder):
        model = model.model_copy(update={"weights": "none"})  # nothing is downloaded
    recipe = recipe.model_copy(update={"model": model, "precision": "float32"})
    refiner = build_refiner(refiner_recipe(recipe)).count_params() if recipe.refine else 0
    return build(recipe).count_params(), refiner


if __name__ == "__main__":
    commandline.run(benchmark)
