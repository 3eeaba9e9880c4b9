"""Assign the cars to cross-validation folds."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from carvana import commandline, console
from carvana.data.dataset import car_mask_areas
from carvana.data.folds import assign_folds, default_table, read_folds, select_folds, write_folds
from carvana.errors import UserError

_N_FOLDS = 5


def split(
    data: Annotated[Path, typer.Option(help="A data folder in the competition's layout.")] = Path("data"),
    n_folds: Annotated[int | None, typer.Option(min=2, help="Number of folds. [default: 5]")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed of the assignment. [default: 0]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The fold table. [default: folds/DATA-N.csv]")] = None,
) -> None:
    """Assign the cars to folds, stratified by mask area; a car's 16 views stay together.

    An existing table that covers the cars is kept; `--n-folds`, if given, must be its number of folds.

    Examples:

        ./run.sh split

        ./run.sh split --data data --n-folds 10 --out folds/ten.csv
    """
    out = out or default_table(data, n_folds or _N_FOLDS)
    areas = car_mask_areas(data)
    if out.exists():
        folds = _existing_folds(out, areas, data, n_folds)
        ignored = "" if seed is None else f"; it is kept, and --seed {seed} has no effect"
        console.message(f"{out}: exists and covers the {len(areas)} cars of {data}{ignored}")
    else:
        folds = assign_folds(areas, n_folds or _N_FOLDS, seed or 0)
        write_folds(folds, out)
        console.message(f"{out}: {len(areas)} cars assigned to {n_folds or _N_FOLDS} folds")
    by_fold = areas.groupby(folds.rename("fold"))
    rows = [[str(fold), str(len(cars)), f"{cars.mean():,.0f}"] for fold, cars in by_fold]
    console.show_table("Folds", ["fold", "cars", "mean mask area [pixels]"], rows)


def _existing_folds(table: Path, areas: pd.Series, data: Path, n_folds: int | None) -> pd.Series:
    """Return the fold of each car from an existing table.

    Raises:
        UserError: the table is malformed, lacks a car, or has another number of folds than `n_folds`.
    """
    folds = read_folds(table)
    existing = folds.nunique()
    if n_folds not in (None, existing):
        raise UserError(
            f"{table}: exists and has {existing} folds, not {n_folds}; choose another --out, or delete the table"
        )
    return select_folds(folds, set(areas.index), table, data)


if __name__ == "__main__":
    commandline.run(split)
