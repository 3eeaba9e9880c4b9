"""Options of the scripts that use trained networks."""

from pathlib import Path
from typing import Annotated

import typer

from carvana.commandline import not_empty

Recipe = Annotated[
    str | None,
    typer.Option(help="A recipe of src/recipes by its name, or a TOML file.", callback=not_empty),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights that come with the code (fast), or a run's folder, instead of --recipe.",
        callback=not_empty,
    ),
]
Fold = Annotated[
    list[str] | None,
    typer.Option(metavar="K|all", help="One fold, or the mean of all folds' probabilities. [default: all]"),
]
Runs = Annotated[Path, typer.Option(help="The folder of trained runs, RUNS/RECIPE/fold-K.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, as given to `./run.sh train`; may be repeated."),
]
