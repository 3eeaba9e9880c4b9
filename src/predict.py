"""Predict test photos into submissions, or cut cars out of any photos."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
import os
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from carvana import commandline, console, network_options
from carvana.data.dataset import Sample, test_samples, train_samples
from carvana.data.split import fold_name, parse_single_fold
from carvana.errors import UserError
from carvana.evaluation import mask_checks
from carvana.inference.config import PredictionConfig, parse_blend, resolve_member, weights_member
from carvana.kaggle import options
from carvana.locks import file_lock
from carvana.submission.csv_file import fold_path
from carvana.submission.ledger import Ledger
from carvana.tables import csv_stem

_MAX_TABLE_ROWS = 40
"""Cut-outs up to which a table of them is printed."""


class Engine(StrEnum):
    """Library that computes the networks."""

    auto = "auto"
    keras = "keras"
    openvino = "openvino"


class Tta(StrEnum):
    """Test-time augmentation: the views of a photo that are averaged."""

    none = "none"
    flip = "flip"
    scales = "scales"


def predict(
    recipe: network_options.Recipe = None,
    weights: network_options.Weights = None,
    blend: Annotated[
        str | None,
        typer.Option(help="A weighted mean: NAME=0.6,NAME=0.4, each a recipe or a folder of saved maps."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A folder of the competition's form; its test photos are predicted.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Photos to cut cars out of: files, a folder, or a pattern; may be repeated."),
    ] = None,
    more_images: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHOTO", help="Further photos, as a shell expands a pattern of --images."),
    ] = None,
    cutouts: Annotated[
        str | None,
        typer.Option(
            metavar="[FOLDER]",
            help="The folder for their cut-outs (NAME.png) and masks (NAME_mask.png). [default: cutouts]",
        ),
    ] = None,
    fold: network_options.Fold = None,
    hard: Annotated[
        bool, typer.Option("--hard", help="Cut-outs and masks with hard edges: opacities of 0 and 255 only.")
    ] = False,
    each_fold: Annotated[
        bool, typer.Option("--each-fold", help="Also write each fold's own submission.")
    ] = False,
    tta: Annotated[
        Tta | None,
        typer.Option(
            help="Views to average: flip, the mirror image too; scales, both at 0.9, 1 and 1.1 of the size."
            " [default: the recipe's]"
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Pixels with a probability above it are car; `auto`: the best one on out-of-fold photos of"
            " DATA/train. [default: the recipe's]"
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="The library that computes the networks: auto, on a machine without a GPU the fastest one"
            " that is as accurate as Keras."
        ),
    ] = Engine.auto,
    keep_maps: Annotated[
        bool,
        typer.Option(
            "--keep-maps",
            help="Also write probability maps, as 8-bit PNG, into a folder beside --out; cut-outs': NAME_map.png.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The submission. [default: in submissions, named after the recipe]")
    ] = None,
    runs: network_options.Runs = Path("runs"),
    set_: network_options.Changes = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Predict test photos on the workers of a Dask scheduler: tls://HOST:8786, or local:N processes."
        ),
    ] = None,
    on: options.On = None,
    hours: options.Hours = None,
    detach: options.Detach = False,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    attach: options.Attach = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="--on kaggle: push again, although it was predicted or can continue."),
    ] = False,
) -> None:
    """Predict test photos into a submission in the sample submission's order, or cut cars out of any photos.

    Probabilities are averaged over views and folds, upsampled to the photo's own size, and thresholded last.
    Each submission is checked and recorded in the ledger beside it; the masks that are most likely wrong are listed
    in NAME-checks.csv. The same command resumes a prediction that was stopped.

    Examples:

        ./run.sh predict --recipe miniature --data data --each-fold

        ./run.sh predict --recipe fast --data path/to/carvana --fold 0 --out submissions/real-fast.csv.gz

        ./run.sh predict --blend baseline=0.6,resnet34=0.4 --data path/to/carvana --tta scales --threshold auto

        ./run.sh predict --recipe fast --data path/to/carvana --engine openvino

        ./run.sh predict --recipe fast --data path/to/carvana --cluster tls://HOST:8786

        ./run.sh predict --recipe single --each-fold --on kaggle

        ./run.sh predict --recipe fast --images photos/*.jpg --cutouts

        ./run.sh predict --weights fast --images photos/*.jpg --cutouts
    """
    blended = _member_weights(recipe, weights, blend)
    patterns = _photo_patterns(images, more_images, cutouts)
    if hard and not patterns:
        raise typer.BadParameter("--hard requires --images; masks of submissions are hard always")
    notebook = options.notebook_options(on, hours, detach, dry_run, offline, attach)
    if fresh and not notebook:
        raise typer.BadParameter("--fresh requires --on kaggle")
    if notebook and (recipe is None or patterns or keep_maps or cluster or engine != Engine.auto):
        raise typer.BadParameter(
            "--on kaggle takes --recipe, and none of --images, --keep-maps, --cluster and --engine"
        )
    if data is None and not notebook and (not patterns or threshold == "auto"):
        raise typer.BadParameter("give --data, or --images with a --threshold that is a number")
    if each_fold and recipe is None:
        raise typer.BadParameter("--each-fold requires --recipe")
    if weights is not None and fold:
        raise typer.BadParameter("--fold requires --recipe or --blend")
    if cluster == "":
        raise typer.BadParameter("--cluster: the address is empty")
    if cluster and patterns:
        raise typer.BadParameter("--cluster requires --data; cut-outs are made on this machine")
    if cluster:  # workers on other machines need absolute paths
        data, runs = data and data.absolute(), runs.absolute()
        blended = {_absolute_folder(name): weight for name, weight in blended.items()}
        if engine == Engine.auto and not cluster.startswith("local:"):
            engine = Engine.keras  # the workers may have GPUs
    number = parse_single_fold(fold or [])
    changes = (set_ or []) + ([f"tta={tta.value}"] if tta else [])
    members = [
        resolve_member(name, weight, runs, changes, number, data=data, on_kaggle=notebook is not None)
        for name, weight in blended.items()
    ]
    if weights is not None:
        members = [weights_member(weights, changes)]
    config = PredictionConfig(tuple(members))
    if notebook and recipe is not None:
        from carvana.kaggle.prediction_job import KagglePrediction, predict_on_kaggle

        tuned = None if threshold in (None, "auto") else _parse_threshold(threshold)
        config = replace(config, per_fold=each_fold and number is None, threshold=tuned)
        job = KagglePrediction(recipe, tuple(changes), config, fold_name(number), threshold == "auto")
        path = _submission_path(out, config, number)
        _show_fetched(predict_on_kaggle(job, path, runs, data or Path("data"), notebook, fresh=fresh))
    elif patterns:
        _cut_out(config, engine, threshold, data, patterns, Path(cutouts or "cutouts"), keep_maps, hard)
    elif data is not None:
        path = _submission_path(out, config, number)
        path = path.absolute() if cluster else path
        # The search of the threshold takes as long as a prediction, so all tables are read before it.
        photos = test_samples(data)
        console.message(f"{data}: {len(photos):,} test photos")
        Ledger.beside(path).rows()
        config = _with_engine(config, engine, len(photos))
        config, scores = _with_threshold(config, threshold, data)
        maps_dir = Path(f"{csv_stem(path)}-maps") if keep_maps else None
        config = replace(config, per_fold=each_fold and number is None, maps_dir=maps_dir)
        _predict_test_set(config, path, scores, photos, cluster)


def _member_weights(recipe: str | None, weights: str | None, blend: str | None) -> dict[str, float]:
    """Return the weights in the mean of the recipes and folders of saved maps, by their names."""
    if sum(one is not None for one in (recipe, weights, blend)) != 1:
        raise typer.BadParameter("give one of --recipe, --weights and --blend")
    if recipe is not None:
        return {recipe: 1.0}
    return parse_blend(blend) if blend is not None else {}


def _photo_patterns(images: list[str] | None, more: list[str] | None, cutouts: str | None) -> list[str]:
    """Return the photos, folders and patterns to cut cars out of; none if test photos are predicted."""
    if more and images is None and cutouts is None:
        raise typer.BadParameter(f"unexpected argument {more[0]}; photos to cut out are given with --images")
    patterns = [*(images or []), *(more or [])]
    if cutouts is not None and not patterns:
        raise typer.BadParameter("--cutouts requires photos, e.g. --images photos")
    if cutouts and os.path.isfile(cutouts):
        raise typer.BadParameter(
            f"--cutouts {cutouts}: is a file; give a folder, or --cutouts alone at the end for the folder cutouts"
        )
    return patterns


def _absolute_folder(member: str) -> str:
    """Make a folder of saved maps absolute; a recipe's name is returned as it is."""
    return str(Path(member).absolute()) if os.path.isdir(member) else member


def _parse_threshold(threshold: str) -> float:
    try:
        number = float(threshold)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise UserError(f"--threshold {threshold}: expected a number between 0 and 1, or auto")
    return number


def _submission_path(out: Path | None, config: PredictionConfig, fold: int | None) -> Path:
    path = out or Path("submissions") / f"{config.name.replace(',', '+')}.csv.gz"
    if path.suffix != ".gz":
        raise UserError(f"--out {path}: a submission is gzipped; end its name in .csv.gz")
    return path if out or fold is None else fold_path(path, fold)


def _with_engine(config: PredictionConfig, engine: Engine, n_photos: int) -> PredictionConfig:
    """Return the configuration with the engine of the command."""
    from carvana.evaluation.engine_choice import choose_engine

    return replace(config, engine=choose_engine(engine.value, config, n_photos))


def _with_threshold(
    config: PredictionConfig, threshold: str | None, data: Path | None
) -> tuple[PredictionConfig, pd.DataFrame | None]:
    """Return the configuration with the threshold of the command, and its out-of-fold scores if it is `auto`."""
    if threshold is None:
        return config, None
    if threshold != "auto" or data is None:
        return replace(config, threshold=_parse_threshold(threshold)), None
    from carvana.evaluation.threshold import print_result, tune_threshold

    result = tune_threshold(config, train_samples(data))
    print_result(result)
    return replace(config, threshold=result.threshold), result.scores


def _predict_test_set(
    config: PredictionConfig,
    path: Path,
    scores: pd.DataFrame | None,
    photos: Sequence[Sample],
    cluster: str | None,
) -> None:
    """Predict test photos into submissions, and print their checks."""
    from carvana.submission.predict_test import predict_test_set, submission_specs

    executor = None
    if cluster:
        from carvana.cluster.executor import dask_executor

        executor = dask_executor(cluster)
    specs = submission_specs(config, path, scores)
    predicted = predict_test_set(specs, photos, executor)
    rows = [
        [
            *(str(spec.path), spec.fold, config.engine.name),
            *(f"{check.photos:,}", f"{check.empty:,}", f"{check.runs:,.1f}"),
        ]
        for spec, check in zip(specs, predicted.checks, strict=True)
    ]
    columns = ["file", "fold", "engine", "photos", "empty masks", "runs per mask"]
    console.show_table("Submissions, checked", columns, rows, left=3)
    if predicted.masks is not None:
        console.show_table(
            "Masks that may be wrong", mask_checks.HEADINGS, mask_checks.table(predicted.masks)
        )
        count = min(mask_checks.MAX_SUSPECTS, len(predicted.masks))
        console.message(f"{mask_checks.suspects_path(path)}: the {count} photos to look at")


def _show_fetched(submissions: list[Path]) -> None:
    """Print submissions that were fetched from Kaggle, with their rows of the ledger; none of a detached notebook."""
    if submissions:
        rows = {row["submission"]: row for row in Ledger.beside(submissions[0]).rows()}
        cells = [[str(path), *(rows[path.name][key] for key in ("fold", "cv_dice"))] for path in submissions]
        console.show_table("Submissions, predicted on Kaggle", ["file", "fold", "CV Dice"], cells, left=2)


def _cut_out(
    config: PredictionConfig,
    engine: Engine,
    threshold: str | None,
    data: Path | None,
    patterns: Sequence[str],
    folder: Path,
    keep_maps: bool,
    hard: bool,
) -> None:
    """Cut cars out of the photos of patterns, and print the files."""
    from carvana.inference.cutouts import CutoutFolder, find_photos
    from carvana.inference.predictors import WeightedEnsemble

    photos = find_photos(patterns)
    console.message(f"{console.counted(len(photos), 'photo')} to cut cars out of")
    config = _with_engine(config, engine, len(photos))
    config, _ = _with_threshold(config, threshold, data)
    with file_lock(folder / ".cutouts.lock", console):
        cutouts = CutoutFolder(folder, config, maps=keep_maps, hard=hard)
        pending = cutouts.pending(photos)
        if len(pending) < len(photos):
            made_before = f"{len(photos) - len(pending):,} of {console.counted(len(photos), 'photo')}"
            console.message(f"{folder}: has {made_before} already")
        if not pending:
            return
        ensemble = WeightedEnsemble.load(config)
        with console.progress(f"cut out, tta {config.tta}", len(pending), "photos") as advance:
            made = list(cutouts.cut_out(ensemble, pending, advance))
    if len(made) <= _MAX_TABLE_ROWS:
        rows = [
            [
                str(one.photo),
                str(one.cutout),
                str(one.mask),
                f"{one.size[1]}x{one.size[0]}",
                f"{one.share:.1%}",
            ]
            for one in made
        ]
        console.show_table("Cut-outs", ["photo", "cut-out", "mask", "size", "car"], rows, left=3)
    empty = sum(round(one.share, 3) == 0 for one in made)
    note = f"; in {empty:,} no car was found" if empty else ""
    console.message(f"{console.counted(len(made), 'photo')} cut out to {folder}{note}")


if __name__ == "__main__":
    commandline.run(predict)
