"""Predict photos: flips and folds averaged, written as a submission, or as cut-outs of your own photos."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from carvana import console
from carvana.data.dataset import test_samples, train_samples
from carvana.data.split import parse_fold
from carvana.errors import UserError
from carvana.evaluation import mask_checks
from carvana.evaluation import threshold as thresholds
from carvana.inference.config import PredictionConfig, parse_blend, resolve_member
from carvana.submission.csv_file import submission_stem
from carvana.submission.predict_test import (
    SubmissionSpec,
    TestPrediction,
    fold_path,
    predict_test_set,
    submission_specs,
)
from carvana.tasks import Executor

_TABLE = 40
"""Cut-outs that a table is shown of."""


class Tta(StrEnum):
    """Views of a photo that are averaged."""

    none = "none"
    flip = "flip"
    scales = "scales"


def predict(
    recipe: Annotated[
        str | None, typer.Option(help="A recipe of src/recipes by its name, or a TOML file.")
    ] = None,
    blend: Annotated[
        str | None,
        typer.Option(help="Several by weight: NAME=0.6,NAME=0.4, each a recipe or a folder of kept maps."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A folder of the competition's form; its test photos are predicted.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Any photos instead: a pattern in quotes, or a folder.")
    ] = None,
    cutouts: Annotated[
        Path | None, typer.Option(help="The folder for their cut-outs (NAME.png) and masks (NAME_mask.png).")
    ] = None,
    fold: Annotated[str, typer.Option(help="One fold, or `all`: the mean of their probabilities.")] = "all",
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
            help="Car is where the probability is above; `auto`: what out-of-fold photos of DATA/train ask"
            " for. [default: the recipe's]"
        ),
    ] = None,
    keep_maps: Annotated[
        bool,
        typer.Option("--keep-maps", help="Keep probability maps, as 8-bit PNG, in a folder beside --out."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The submission. [default: submissions/RECIPE[-foldK].csv.gz]")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where training wrote RUNS/RECIPE/fold-K.")] = Path("runs"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: as given to train.py; may be repeated.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Predict test photos on the workers of a Dask scheduler: tcp://HOST:8786, or local:N processes."
        ),
    ] = None,
) -> None:
    """Predict test photos and write a submission in the sample submission's order, or cut cars out of any photos.

    Probabilities are averaged over views and folds, upsampled to the photo's own size, and thresholded last.
    Each submission is checked, and gets a row in the ledger beside it; the masks most likely wrong are listed in
    NAME-checks.csv. A prediction that was stopped goes on where it was.

    Examples:

        ./run.sh predict --recipe miniature --data data --each-fold

        ./run.sh predict --recipe fast --data $CARVANA_DATA --fold 0 --out submissions/real-fast.csv.gz

        ./run.sh predict --blend baseline=0.6,resnet34=0.4 --data $CARVANA_DATA --tta scales --threshold auto

        ./run.sh predict --recipe fast --data $CARVANA_DATA --cluster tcp://HOST:8786

        ./run.sh predict --recipe fast --images 'photos/*.jpg' --cutouts cutouts
    """
    if (recipe is None) == (blend is None):
        raise typer.BadParameter("give --recipe or --blend, and not both")
    if (images is None) != (cutouts is None):
        raise typer.BadParameter("--images and --cutouts go together")
    if data is None and (images is None or threshold == "auto"):
        raise typer.BadParameter("give --data, or --images with a threshold that is a number")
    if each_fold and blend:
        raise typer.BadParameter("--each-fold goes with --recipe")
    if cluster and images is not None:
        raise typer.BadParameter("--cluster goes with --data: cut-outs are made here")
    number = parse_fold(fold)
    asked = (set_ or []) + ([f"tta={tta.value}"] if tta else [])
    weights = {recipe: 1.0} if recipe else parse_blend(blend)
    if cluster:  # so that other machines find them
        data, runs = data.absolute(), runs.absolute()
        weights = {_findable(name): weight for name, weight in weights.items()}
    config = PredictionConfig(
        tuple(resolve_member(name, weight, runs, asked, number) for name, weight in weights.items())
    )
    scores = None
    if threshold == "auto":
        choice = thresholds.tune_threshold(config, train_samples(data))
        thresholds.show(choice)
        config, scores = replace(config, threshold=choice.threshold), choice.scores
    elif threshold is not None:
        config = replace(config, threshold=_number(threshold))
    if images is not None:
        _cut_out(config, images, cutouts, keep_maps)
        return
    path = _submission(out, config, number)
    path = path.absolute() if cluster else path
    each = each_fold and number is None
    config = replace(
        config, per_fold=each, maps_dir=Path(f"{submission_stem(path)}-maps") if keep_maps else None
    )
    entries = submission_specs(config, path, scores)
    _show(entries, predict_test_set(entries, test_samples(data), _executor(cluster) if cluster else None))


def _findable(part: str) -> str:
    """A recipe's name, or a folder of maps as other machines find it."""
    return str(Path(part).absolute()) if Path(part).is_dir() else part


def _executor(address: str) -> Executor:
    from carvana.cluster.executor import dask_executor  # late: Dask is not needed without

    return dask_executor(address)


def _number(threshold: str) -> float:
    try:
        number = float(threshold)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise UserError(f"--threshold {threshold}: expected a number between 0 and 1, or auto")
    return number


def _submission(out: Path | None, config: PredictionConfig, fold: int | None) -> Path:
    """Where the submission goes."""
    path = out or Path("submissions") / f"{config.name.replace(',', '+')}.csv.gz"
    if path.suffix != ".gz":
        raise UserError(f"--out {path}: a submission is gzipped; end its name in .csv.gz")
    return path if out or fold is None else fold_path(path, fold)


def _show(entries: Sequence[SubmissionSpec], predicted: TestPrediction) -> None:
    rows = [
        [str(entry.path), entry.fold, f"{check.photos:,}", f"{check.empty:,}", f"{check.runs:,.1f}"]
        for entry, check in zip(entries, predicted.checks, strict=True)
    ]
    console.show_table(
        "Submissions, checked", ["file", "fold", "photos", "empty masks", "runs a mask"], rows, left=2
    )
    if predicted.facts is None:
        return
    photos = mask_checks.measure_masks(predicted.facts)
    path = mask_checks.suspects_path(entries[0].path)
    mask_checks.write_suspects(photos, path)
    console.show_table("Masks that may have gone wrong", mask_checks.HEADINGS, mask_checks.table(photos))
    console.message(f"{path}: the {min(mask_checks.MAX_SUSPECTS, len(photos))} photos to look at")


def _cut_out(config: PredictionConfig, pattern: str, folder: Path, keep_maps: bool) -> None:
    from carvana.inference import cutouts  # late: TensorFlow takes seconds that --help need not

    asked = cutouts.photos_of(pattern, folder)
    photos, rows = cutouts.pending(config, asked, folder, maps=keep_maps), []
    if len(photos) < len(asked):
        console.message(f"{folder}: has {len(asked) - len(photos):,} of {len(asked):,} photos already")
    if not photos:
        return
    blend = config.load()
    with console.progress(f"cut out, tta {config.tta}", len(photos), "photos") as advance:
        for made in cutouts.cut_out(blend, config.threshold, photos, folder, maps=keep_maps, advance=advance):
            size = f"{made.size[1]}x{made.size[0]}"
            rows.append([str(made.photo), str(made.cutout), str(made.mask), size, f"{made.share:.1%}"])
    if len(rows) <= _TABLE:
        console.show_table("Cut-outs", ["photo", "cut-out", "mask", "size", "car"], rows, left=3)
    console.message(
        f"{len(rows):,} photos cut out to {folder}; {sum(row[-1] == '0.0%' for row in rows):,} show no car"
    )


if __name__ == "__main__":
    console.run(predict)
