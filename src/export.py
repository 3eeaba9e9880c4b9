"""Export a whole ensemble in one file, as ONNX and as TensorFlow's SavedModel."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.data.split import parse_fold
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
    fold: Annotated[str, typer.Option(help="One fold, or `all`: the mean of their probabilities.")] = "all",
    format_: Annotated[
        list[Format] | None, typer.Option("--format", help="May be repeated. [default: both]")
    ] = None,
    tta: Annotated[
        Tta | None, typer.Option(help="Views of a photo to average. [default: the recipe's]")
    ] = None,
    out: Annotated[Path, typer.Option(help="OUT/RECIPE.onnx and the folder OUT/RECIPE are written.")] = Path(
        "exports"
    ),
    runs: Annotated[Path, typer.Option(help="The folder of trained runs, RUNS/RECIPE/fold-K.")] = Path(
        "runs"
    ),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as given to train.py; may be repeated.")
    ] = None,
) -> None:
    """Export the ensemble of a recipe's folds, with its flips, in one file.

    The model takes photos (n, height, width, 3), uint8, RGB, resized to the recipe's size, and returns their
    probability maps (n, height, width), float32. Upsample a map to the photo's own size; pixels above the threshold
    are car.

    Examples:

        ./run.sh export --recipe fast --fold 0

        ./run.sh export --recipe miniature --format onnx --tta none --out exports
    """
    changes = (set_ or []) + ([f"tta={tta.value}"] if tta else [])
    member = resolve_member(recipe, 1.0, runs, changes, parse_fold(fold))
    if member.recipe is None:
        raise UserError(f"--recipe {recipe}: a folder of saved maps has no networks to export")

    from carvana.inference.export import build_export_model, write_onnx, write_saved_model

    model = build_export_model(member.runs, member.recipe)
    name = member.name if fold == "all" else f"{member.name}-fold{fold}"
    height, width = member.recipe.size
    networks = f"{len(member.runs)} network{'s' * (len(member.runs) > 1)}"
    for format_name in dict.fromkeys(format_ or list(Format)):
        if format_name is Format.onnx:
            path = out / f"{name}.onnx"
            write_onnx(model, path)
        else:
            path = out / name
            write_saved_model(model, path)
        size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file()) / 1e6
        console.message(
            f"{path}: {networks}, tta {member.recipe.tta}, photos of {width}x{height}, {size:.1f} MB"
        )


if __name__ == "__main__":
    console.run(export)
