"""Assign the cars to cross-validation folds."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console
from carvana.data.dataset import car_mask_areas
from carvana.data.folds import assign_folds, default_table, read_folds, select_folds, write_folds
from carvana.errors import UserError


def split(
    data: Annotated[Path, typer.Option(help="A data folder in the competition's layout.")] = Path("data"),
    n_folds: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the assignment.")] = 0,
    out: Annotated[Path | None, typer.Option(help="The fold table. [default: folds/DATA-N.csv]")] = None,
) -> None:
    """Assign the cars to folds, stratified by mask area; a car's 16 views stay together.

    An existing table that covers the cars is kept.

    Examples:

        ./run.sh split

        ./run.sh split --data data --n-folds 10 --out folds/ten.csv
    """
    out = out or default_table(data, n_folds)
    areas = car_mask_areas(data)
    if out.exists():
        folds = select_folds(read_folds(out), set(areas.index), out, data)
        if folds.max() >= n_folds:
            raise UserError(f"{out}: has more than {n_folds} folds; choose another --out, or remove it")
        console.message(f"{out}: exists and covers the {len(areas)} cars of {data}")
    else:
        folds = assign_folds(areas, n_folds, seed)
        write_folds(folds, out)
        console.message(f"{out}: {len(areas)} cars assigned to {n_folds} folds")
    by_fold = areas.groupby(folds.rename("fold"))
    rows = [[str(fold), str(len(cars)), f"{cars.mean():,.0f}"] for fold, cars in by_fold]
    console.show_table("Folds", ["fold", "cars", "mean mask area [pixels]"], rows)


if __name__ == "__main__":
    commandline.run(split)
