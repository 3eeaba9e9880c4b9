"""Export a recipe's ensemble as ONNX, with a script that makes masks, and as TensorFlow's SavedModel."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console
from carvana.data.split import parse_single_fold
from carvana.errors import UserError
from carvana.inference.config import resolve_member


class Format(StrEnum):
    """Format of the exported file."""

    onnx = "onnx"
    saved_model = "saved_model"


class Tta(StrEnum):
    """Test-time augmentation within the exported model."""

    none = "none"
    flip = "flip"


def export(
    recipe: Annotated[str, typer.Option(help="A recipe of src/recipes by its name, or a TOML file.")],
    fold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K|all", help="One fold, or the mean of all folds' probabilities. [default: all]"
        ),
    ] = None,
    format_: Annotated[
        list[Format] | None, typer.Option("--format", help="May be repeated. [default: both]")
    ] = None,
    tta: Annotated[
        Tta | None, typer.Option(help="Views of a photo to average. [default: the recipe's]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the exported files.")] = Path("exports"),
    runs: Annotated[Path, typer.Option(help="The folder of trained runs, RUNS/RECIPE/fold-K.")] = Path(
        "runs"
    ),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as given to train.py; may be repeated.")
    ] = None,
) -> None:
    """Export the ensemble of a recipe's folds, with its flips, as one model.

    The model takes photos (n, height, width, 3), uint8, RGB, resized to the recipe's size, and returns their
    probability maps (n, height, width), float32. If the recipe refines, the refinement networks become a second
    model, which takes patches (n, patch, patch, 4), uint8, and returns their probabilities (n, patch, patch).

    OUT/RECIPE.py makes masks of photos with OUT/RECIPE.onnx and OUT/RECIPE-refiner.onnx. It needs NumPy, OpenCV and
    ONNX Runtime, and nothing of this project. SavedModels are the folders OUT/RECIPE and OUT/RECIPE-refiner.

    Examples:

        ./run.sh export --recipe fast --fold 0

        ./run.sh export --recipe miniature --format onnx --tta none --out exports

        python exports/miniature.py photos/*.jpg --png masks
    """
    changes = (set_ or []) + ([f"tta={tta.value}"] if tta else [])
    number = parse_single_fold(fold or [])
    member = resolve_member(recipe, 1.0, runs, changes, number)
    if member.recipe is None:
        raise UserError(f"--recipe {recipe}: a folder of saved maps has no networks to export")

    from carvana.inference.export import export_ensemble

    name = member.name if number is None else f"{member.name}-fold{number}"
    formats = [one.value for one in format_ or list(Format)]
    for path, description in export_ensemble(member.runs, member.recipe, out, name, formats):
        console.message(f"{path}: {description}")


if __name__ == "__main__":
    commandline.run(export)
