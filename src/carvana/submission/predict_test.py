"""Prediction of a test set: submissions that are written, checked and recorded in the ledger."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana import console
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.evaluation.scores import format_dice, mean_with_ci
from carvana.files import sha256_of_file
from carvana.inference.config import PredictionConfig
from carvana.inference.predictors import WeightedEnsemble
from carvana.inference.shards import (
    FIELDS,
    PredictionJob,
    Shard,
    predict_shards,
    read_records,
    resume_shards,
)
from carvana.locks import file_lock
from carvana.runs import RunDir
from carvana.submission.csv_file import Check, check_submission, fold_path, photo_sizes, write_submission
from carvana.submission.ledger import Ledger, LedgerRow, git_commit, utc_now
from carvana.tables import csv_stem
from carvana.tasks import Executor


@dataclass(frozen=True)
class SubmissionSpec:
    """A submission to predict: its file, and the networks that it comes from."""

    path: Path
    config: PredictionConfig
    runs: Sequence[RunDir]
    """Runs behind the submission; for a blend, those of the first recipe."""
    scores: pd.DataFrame | None = None
    """Out-of-fold scores with this configuration, columns img and dice; None if there are none."""

    @property
    def fold(self) -> str:
        """The ledger's column `fold`: a fold's number, or `all`."""
        if not self.runs or len(self.runs) == len(self.runs[0].read_metadata().folds):
            return "all"
        return str(self.runs[0].fold)

    @property
    def folds(self) -> str:
        """The ledger's column `folds`: the name of the runs' fold table."""
        return self.runs[0].read_metadata().table if self.runs else ""

    def prediction_columns(self) -> LedgerRow:
        """Return the ledger's columns that identify the networks and how they predict."""
        return {
            "submission": self.path.name,
            "recipe": self.config.name,
            "fold": self.fold,
            "tta": self.config.tta,
            "threshold": f"{self.config.effective_threshold:g}",
        }


@dataclass(frozen=True)
class TestPrediction:
    """The result of predicting a test set."""

    checks: list[Check]
    """The check of each submission."""
    records: pd.DataFrame | None
    """The first submission's masks as `write_from_shards` returns them; None if all submissions were current."""


def submission_specs(
    config: PredictionConfig, path: Path, scores: pd.DataFrame | None = None
) -> list[SubmissionSpec]:
    """List the submissions of a prediction: the ensemble's, and with `per_fold` each fold's (`-fold0`, ...).

    Args:
        config: the prediction.
        path: the ensemble's submission.
        scores: out-of-fold scores with this configuration; by default those of training, if they are comparable.
    """
    runs = next((member.runs for member in config.members if member.runs), ())
    specs = [SubmissionSpec(path, config, runs, _out_of_fold_scores(config, runs, scores))]
    if config.per_fold:
        specs += [
            SubmissionSpec(
                fold_path(path, run.fold), config, [run], _out_of_fold_scores(config, [run], scores)
            )
            for run in runs
        ]
    return specs


def predict_test_set(
    specs: Sequence[SubmissionSpec], photos: Sequence[Sample], executor: Executor | None = None
) -> TestPrediction:
    """Predict a test set for all submissions in one pass, and write submissions and ledger rows.

    Finished shards stay in a folder beside the first submission until everything is written, so that the same call
    resumes an interrupted prediction. Submissions that are there already, with this configuration, are kept.

    Args:
        specs: the submissions, as `submission_specs` returns them.
        photos: the test photos, in the order of the rows.
        executor: predicts the shards elsewhere; by default this process predicts them in one stream.

    Raises:
        UserError: a photo is not a complete image, or a submission fails its check.
    """
    folder = specs[0].path.with_name(f".{csv_stem(specs[0].path).name}.shards")
    with file_lock(folder.with_suffix(".lock"), console):
        checks, records = _current_checks(specs, photos), None
        if checks is None:
            records = _predict(specs, photos, folder, executor)
            sizes = {name: (h, w) for name, h, w in records[["img", "height", "width"]].to_numpy()}
            checks = [check_submission(spec.path, sizes) for spec in specs]
            for spec in specs:
                Ledger.beside(spec.path).add(_ledger_row(spec))
        shutil.rmtree(folder, ignore_errors=True)
        return TestPrediction(checks, records)


def write_from_shards(shards: Sequence[Shard], paths: Sequence[Path]) -> pd.DataFrame:
    """Write submissions from finished shards: each record's masks, one to each submission.

    The masks are streamed and never in memory at once.

    Returns:
        The records without their masks: column img, and the other fields of `PredictionRecord`.
    """
    tables = []
    with ExitStack() as files:
        writers = [files.enter_context(write_submission(path)) for path in paths]
        for shard in shards:
            rows = []
            for record in read_records(shard):
                *fields, masks = record
                rows.append(fields)
                for write, mask in zip(writers, masks, strict=True):
                    write(record.name, mask)
            tables.append(pd.DataFrame(rows, columns=["img", *FIELDS[1:]]))
    return pd.concat(tables, ignore_index=True)


def _predict(
    specs: Sequence[SubmissionSpec], photos: Sequence[Sample], folder: Path, executor: Executor | None
) -> pd.DataFrame:
    """Predict the shards that are not finished, write the submissions, and return `write_from_shards`' records."""
    config = specs[0].config
    shards = resume_shards(photos, folder, config)
    pending = [shard for shard in shards if not shard.finished]
    left = sum(shard.n_samples for shard in pending)
    if left < len(photos):
        console.message(f"{specs[0].path}: resumes after {len(photos) - left:,} of {len(photos):,} photos")
    title = f"predict with fold {specs[0].fold}, tta {config.tta}"
    if pending and executor is not None:
        executor(PredictionJob(config, photos[0].path.parent, folder, title), pending)
    elif pending:
        ensemble = WeightedEnsemble.load(config)
        with console.progress(title, left, "photos") as advance:
            predict_shards(config, ensemble, pending, advance)
    return write_from_shards(shards, [spec.path for spec in specs])


def _current_checks(specs: Sequence[SubmissionSpec], photos: Sequence[Sample]) -> list[Check] | None:
    """Check the submissions if all of them are current; None if one is not, or fails its check."""
    if not all(_is_current(spec) for spec in specs):
        return None
    sizes = photo_sizes(photos)
    try:
        checks = [check_submission(spec.path, sizes) for spec in specs]
    except UserError:
        return None
    for spec in specs:
        console.message(f"{spec.path}: predicted already")
    return checks


def _is_current(spec: SubmissionSpec) -> bool:
    """Check that a submission and its maps are newer than the networks, and in the ledger with this configuration."""
    inputs = [path for member in spec.config.members for run in member.runs for path in run.networks]
    inputs += [member.maps for member in spec.config.members if member.maps]
    newest = max(path.stat().st_mtime for path in inputs)
    outputs = [spec.path] + ([spec.config.maps_dir] if spec.config.maps_dir else [])
    if not all(path.exists() and path.stat().st_mtime >= newest for path in outputs):
        return False
    row = Ledger.beside(spec.path).find(spec.path.name, sha256_of_file(spec.path))
    return row is not None and all(row[key] == text for key, text in spec.prediction_columns().items())


def _ledger_row(spec: SubmissionSpec) -> LedgerRow:
    row = spec.prediction_columns() | {
        "folds": spec.folds,
        "when": utc_now(),
        "commit": git_commit(),
        "sha256": sha256_of_file(spec.path),
    }
    if spec.scores is not None:
        cv = mean_with_ci(spec.scores)
        cells = {"cv_dice": cv.dice, "cv_low": cv.low, "cv_high": cv.high}
        row |= {column: format_dice(value) for column, value in cells.items()}
    return row


def _out_of_fold_scores(
    config: PredictionConfig, runs: Sequence[RunDir], scores: pd.DataFrame | None
) -> pd.DataFrame | None:
    """Return the runs' out-of-fold scores; None if the held-out photos were predicted in another way."""
    if not runs:
        return None
    of_training = pd.concat([run.read_scores() for run in runs])
    if scores is not None:
        return scores[scores["img"].isin(of_training["img"])]
    recipe = runs[0].read_recipe()
    is_same = (config.tta, config.effective_threshold) == (recipe.tta, recipe.threshold)
    return of_training if is_same and len(config.members) == 1 else None
