"""Export: the whole ensemble in one file, as ONNX and as TensorFlow's SavedModel."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.data.split import parse_fold
from carvana.inference.config import resolve_member


class Format(StrEnum):
    """What is written."""

    onnx = "onnx"
    saved_model = "saved_model"


class Tta(StrEnum):
    """Views of a photo that are averaged within the file."""

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
    runs: Annotated[Path, typer.Option(help="Where training wrote RUNS/RECIPE/fold-K.")] = Path("runs"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: as given to train.py; may be repeated.")
    ] = None,
) -> None:
    """Export the ensemble of a recipe's folds, with its flips, in one file.

    It takes photos as they are (n, height, width, 3), uint8, RGB, resized to the recipe's size, and gives their
    probability maps (n, height, width), float32. Upsample a map to the photo's own size; car is where it is above
    the threshold.

    Examples:

        ./run.sh export --recipe fast --fold 0

        ./run.sh export --recipe miniature --format onnx --tta none --out exports
    """
    part = resolve_member(
        recipe, 1.0, runs, (set_ or []) + ([f"tta={tta.value}"] if tta else []), parse_fold(fold)
    )

    from carvana.inference import export as exports  # late: TensorFlow takes seconds that --help need not

    model = exports.build_export_model(part.runs, part.recipe)
    name = part.name if fold == "all" else f"{part.name}-fold{fold}"
    height, width = part.recipe.size
    for wanted in dict.fromkeys(format_ or list(Format)):
        path = out / (f"{name}.onnx" if wanted is Format.onnx else name)
        (exports.write_onnx if wanted is Format.onnx else exports.write_saved_model)(model, path)
        size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file()) / 1e6
        networks = f"{len(part.runs)} network{'s' * (len(part.runs) > 1)}"
        console.message(
            f"{path}: {networks}, tta {part.recipe.tta}, photos of {width}x{height}, {size:.1f} MB"
        )


if __name__ == "__main__":
    console.run(export)
