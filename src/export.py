"""Export a recipe's ensemble as ONNX, with a script that makes masks, and as TensorFlow's SavedModel."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console, network_options
from carvana.arguments import command, option
from carvana.data.split import parse_single_fold
from carvana.errors import UserError
from carvana.inference.config import resolve_member, weights_member
from carvana.recipe import read_recipe
from carvana.runs import finished_runs, recipe_runs, run_dir, training_commands


class Format(StrEnum):
    """Format of the exported file."""

    onnx = "onnx"
    saved_model = "saved_model"
    weights = "weights"
    rembg = "rembg"


class Tta(StrEnum):
    """Test-time augmentation within the exported model."""

    none = "none"
    flip = "flip"


def export(
    recipe: network_options.Recipe = None,
    weights: network_options.Weights = None,
    fold: network_options.Fold = None,
    format_: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="onnx, saved_model, weights or rembg; may be repeated. [default: onnx and saved_model]",
        ),
    ] = None,
    tta: Annotated[
        Tta | None, typer.Option(help="Views of a photo to average. [default: the recipe's]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the exported files.")] = Path("exports"),
    runs: network_options.Runs = Path("runs"),
    set_: network_options.Changes = None,
) -> None:
    """Export the ensemble of a recipe's folds, with its flips, as one model.

    The model takes photos (n, height, width, 3), uint8, RGB, resized to the recipe's size, and returns their
    probability maps (n, height, width), float32. If the recipe refines, the refinement networks become a second
    model, which takes patches (n, patch, patch, 4), uint8, and returns their probabilities (n, patch, patch).

    OUT/RECIPE.py makes masks of photos with OUT/RECIPE.onnx and OUT/RECIPE-refiner.onnx. It needs NumPy, OpenCV and
    ONNX Runtime, and nothing of this project. SavedModels are the folders OUT/RECIPE and OUT/RECIPE-refiner.

    Files of an earlier export are replaced. Any other file or folder of these names is kept, and the export refused.

    `--format rembg` writes OUT/RECIPE-u2net_custom.onnx and OUT/RECIPE-dis_custom.onnx for the sessions of these
    names of rembg, with the first networks only.

    `--format weights` writes the networks that `train --fold none` has trained to OUT/RECIPE, in float16, with their
    checksums and a model card. It reads the scores of the recipe's folds from RUNS.

    Examples:

        ./run.sh export --recipe fast --fold 0

        ./run.sh export --weights fast --format rembg

        ./run.sh export --recipe fast --format weights --out weights

        ./run.sh export --recipe miniature --format onnx --tta none --out exports

        python exports/miniature.py photos/*.jpg --png masks
    """
    changes = (set_ or []) + ([f"tta={tta.value}"] if tta else [])
    number = parse_single_fold(fold or [])
    formats = [one.value for one in format_ or (Format.onnx, Format.saved_model)]
    if (recipe is None) == (weights is None):
        raise typer.BadParameter("give either --recipe or --weights")
    if weights is not None and number is not None:
        raise typer.BadParameter("--fold requires --recipe")
    if Format.weights in formats:
        if recipe is None or number is not None or len(formats) > 1:
            raise typer.BadParameter("--format weights requires --recipe, and no --fold or other format")
        _export_weights(recipe, changes, runs, out)
        return
    if weights is not None:
        member = weights_member(weights, changes)
    elif recipe is not None:
        member = resolve_member(recipe, 1.0, runs, changes, number)
    if member.recipe is None:
        raise UserError(f"--recipe {recipe}: a folder of saved maps has no networks to export")

    from carvana.inference.export import check_replaceable, ensemble_files, export_ensemble
    from carvana.inference.rembg import export_for_rembg, rembg_files

    name = member.name if number is None else f"{member.name}-fold{number}"
    files = ensemble_files(member.recipe, out, name, formats)
    check_replaceable(out, files + (rembg_files(out, name) if Format.rembg in formats else []))
    for path, description in export_ensemble(member.runs, member.recipe, out, name, formats):
        console.message(f"{path}: {description}")
    if Format.rembg in formats:
        for path in export_for_rembg(member.runs, member.recipe, out, name):
            console.message(f"{path}: for rembg, without refinement")


def _export_weights(name: str, changes: list[str], runs: Path, out: Path) -> None:
    """Write the networks of a recipe's run on all cars to OUT/RECIPE, with a model card.

    Args:
        name: the recipe's name or file.
        changes: `key=value` changes of the recipe.
        runs: the folder of the runs.
        out: the folder of the exported files.
    """
    recipe = read_recipe(name, changes)
    advice = partial(training_commands, name, runs, changes=changes)
    run = run_dir(runs, recipe, None)
    if run.finished and not recipe_runs(runs / recipe.name):
        raise UserError(f"{runs / recipe.name}: no fold has scores, which the model card needs; {advice()}")
    folds = finished_runs(runs, recipe, advice=advice)
    if not run.finished:
        options = [*option("--runs", runs, "runs"), *(text for one in changes for text in ("--set", one))]
        train = command("train", "--recipe", name, "--fold", "none", *options)
        raise UserError(f"{run.folder}: not trained; {train} comes first")
    run.check_recipe(recipe)

    from carvana.evaluation.model_card import write_model_card
    from carvana.inference.weights_export import export_weights

    written = export_weights(run, folds, recipe.name, out / recipe.name)
    console.message(f"{written.folder}: {sum(path.stat().st_size for path in written.networks) / 1e6:.1f} MB")
    console.message(f"{write_model_card(written, folds)}: the model card")


if __name__ == "__main__":
    commandline.run(export)
