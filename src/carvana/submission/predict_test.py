"""Prediction of a test set: submissions that are written, checked and recorded in the ledger."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from carvana import console
from carvana.data.dataset import Sample, content_digest
from carvana.errors import UserError
from carvana.evaluation.mask_checks import measure_masks, suspects_path, write_suspects
from carvana.evaluation.scores import format_dice, mean_with_ci
from carvana.files import atomic_path, delete_partial, sha256_of_file
from carvana.inference.config import PredictionConfig
from carvana.inference.predictors import WeightedEnsemble, map_path
from carvana.inference.shards import (
    FIELDS,
    PredictionJob,
    Shard,
    predict_shards,
    read_records,
    resume_shards,
)
from carvana.locks import file_lock
from carvana.machine import git_commit
from carvana.runs import RunDir
from carvana.submission.csv_file import Check, check_submission, fold_path, write_submission
from carvana.submission.ledger import Ledger, LedgerRow, utc_now
from carvana.submission.prediction_record import SubmissionRecord, read_record, record_path
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
        first = next(iter(self.runs), None)
        if first is None or not first.holds_out or len(self.runs) == len(first.read_metadata().folds):
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
            "engine": self.config.engine.name,
        }


@dataclass(frozen=True)
class TestPrediction:
    """The result of predicting a test set."""

    checks: list[Check]
    """The check of each submission."""
    masks: pd.DataFrame | None
    """Measures of the first submission's masks by `measure_masks`; None if all were predicted before."""


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
    """Predict a test set for all submissions in one pass, and write submissions, ledger rows and mask checks.

    Finished shards stay in a folder beside the first submission until everything is written, so that the same call
    resumes an interrupted prediction. The record of each submission is written last. Submissions whose records hold
    the same networks, settings and photos are kept.

    Args:
        specs: the submissions, as `submission_specs` returns them.
        photos: the test photos, in the order of the rows.
        executor: predicts the shards elsewhere; by default this process predicts them in one stream.

    Raises:
        UserError: a photo is not a complete image, a saved map is missing, or the ledger is malformed.
    """
    config = specs[0].config
    ledger = Ledger.beside(specs[0].path)
    ledger.rows()  # a malformed ledger ends the prediction before it begins
    _check_saved_maps(config, photos)
    folder = specs[0].path.with_name(f".{csv_stem(specs[0].path).name}.shards")
    with file_lock(folder.with_suffix(".lock"), console):
        of_config = config.fingerprint()
        content = content_digest(photo.path for photo in photos)
        prediction = {**of_config, "photos": {"count": len(photos), "content": content}}
        records, masks = _current_records(specs, photos, prediction), None
        if records is None:
            shards = _predict(specs, photos, folder, of_config, executor)
            records, masks = _write_outputs(specs, photos, shards, prediction)
        else:
            _restore_ledger_rows(ledger, specs, records)
            for path in (spec.path for spec in specs):  # left by a prediction with other settings
                for file in (path, suspects_path(path), record_path(path)):
                    delete_partial(file)
        shutil.rmtree(folder, ignore_errors=True)
        return TestPrediction([record.check for record in records], masks)


def write_from_shards(shards: Sequence[Shard], paths: Sequence[Path]) -> pd.DataFrame:
    """Write submissions from finished shards, as `write_submission` does: each record's masks, one to each.

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
    specs: Sequence[SubmissionSpec],
    photos: Sequence[Sample],
    folder: Path,
    fingerprint: Mapping[str, Any],
    executor: Executor | None,
) -> list[Shard]:
    """Predict the shards that are not finished, and return all of them."""
    config = specs[0].config
    shards = resume_shards(photos, folder, config, fingerprint)
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
    return shards


def _write_outputs(
    specs: Sequence[SubmissionSpec],
    photos: Sequence[Sample],
    shards: Sequence[Shard],
    prediction: dict[str, Any],
) -> tuple[list[SubmissionRecord], pd.DataFrame]:
    """Write submissions, ledger rows, mask checks and, last of all, records from finished shards.

    Returns:
        The record of each submission, and the measures of the first submission's masks.
    """
    config = specs[0].config
    written, table = _write_checked(specs, shards)
    masks = measure_masks(table)
    for spec, (sha256, _) in zip(specs, written, strict=True):
        Ledger.beside(spec.path).add(_ledger_row(spec, sha256))
    write_suspects(masks, suspects_path(specs[0].path))
    maps = content_digest(_map_paths(config, photos)) if config.maps_dir else None
    mask_checks = sha256_of_file(suspects_path(specs[0].path))
    (first_sha256, first_check), *others = written
    records = [SubmissionRecord(first_sha256, prediction, maps, first_check, mask_checks)]
    records += [SubmissionRecord(sha256, prediction, None, check) for sha256, check in others]
    for spec, record in zip(specs, records, strict=True):
        record.write(spec.path)
    return records, masks


def _write_checked(
    specs: Sequence[SubmissionSpec], shards: Sequence[Shard]
) -> tuple[list[tuple[str, Check]], pd.DataFrame]:
    """Write the submissions under temporary names, and rename them once all are checked.

    Returns:
        The SHA-256 and the check of each submission, and the table of `write_from_shards`.
    """
    with ExitStack() as files:
        parts = [files.enter_context(atomic_path(spec.path)) for spec in specs]
        table = write_from_shards(shards, parts)
        sizes = {name: (h, w) for name, h, w in table[["img", "height", "width"]].to_numpy()}
        return [(sha256_of_file(part), check_submission(part, sizes)) for part in parts], table


def _current_records(
    specs: Sequence[SubmissionSpec], photos: Sequence[Sample], prediction: Mapping[str, Any]
) -> list[SubmissionRecord] | None:
    """Return the submissions' records if all files of the same prediction exist; otherwise None."""
    records = []
    for spec in specs:
        record = read_record(spec.path)
        if record is None:
            return None
        if record.prediction != prediction:
            console.message(
                f"{spec.path}: predicted with other networks, settings or photos; predicting again"
            )
            return None
        records.append(record)
    if not _has_mask_checks(records[0], specs[0].path) or not _has_maps(records[0], specs[0].config, photos):
        return None
    for spec in specs:
        console.message(f"{spec.path}: predicted already")
    return records


def _check_saved_maps(config: PredictionConfig, photos: Sequence[Sample]) -> None:
    """Raise UserError if a folder of saved maps lacks the map of a photo."""
    for folder in (member.maps for member in config.members if member.maps):
        names = {path.name for path in folder.iterdir()}
        missing = [path for photo in photos if (path := map_path(folder, photo.name)).name not in names]
        if missing:
            raise UserError(
                f"{missing[0]}: no such map; the folder lacks {len(missing):,} of {len(photos):,}, and"
                " a prediction with --keep-maps writes them"
            )


def _has_mask_checks(record: SubmissionRecord, submission: Path) -> bool:
    """Return whether a submission's file of mask checks is the one that its record names."""
    checks = suspects_path(submission)
    return checks.is_file() and sha256_of_file(checks) == record.mask_checks


def _has_maps(record: SubmissionRecord, config: PredictionConfig, photos: Sequence[Sample]) -> bool:
    """Return whether the maps that a prediction saves, if it does, are those that a submission's record names."""
    if config.maps_dir is None:
        return True
    try:
        return content_digest(_map_paths(config, photos)) == record.maps
    except FileNotFoundError:
        return False


def _map_paths(config: PredictionConfig, photos: Sequence[Sample]) -> list[Path]:
    """Return the files of the maps that a prediction saves."""
    assert config.maps_dir is not None
    return [map_path(config.maps_dir, photo.name) for photo in photos]


def _restore_ledger_rows(
    ledger: Ledger, specs: Sequence[SubmissionSpec], records: Sequence[SubmissionRecord]
) -> None:
    """Add a row for each submission whose row was deleted since it was predicted, and renew the rows' CV Dice.

    The CV Dice changes with the masks of a run's held-out photos, on which the predictions do not depend.
    """
    for spec, record in zip(specs, records, strict=True):
        columns, cv = spec.prediction_columns(), _cv_columns(spec)
        row = ledger.find(spec.path.name, record.sha256)
        if row is None or any(row[name] != text for name, text in columns.items()):
            ledger.add(_ledger_row(spec, record.sha256))
        elif any(row[name] != text for name, text in cv.items()):
            ledger.update(spec.path.name, record.sha256, cv)


def _ledger_row(spec: SubmissionSpec, sha256: str) -> LedgerRow:
    row = spec.prediction_columns() | _cv_columns(spec)
    return row | {"folds": spec.folds, "when": utc_now(), "commit": git_commit(), "sha256": sha256}


def _cv_columns(spec: SubmissionSpec) -> LedgerRow:
    """Return the ledger's columns of the out-of-fold Dice; empty texts where it is unknown."""
    if spec.scores is None:
        return dict.fromkeys(["cv_dice", "cv_low", "cv_high"], "")
    cv = mean_with_ci(spec.scores)
    cells = {"cv_dice": cv.dice, "cv_low": cv.low, "cv_high": cv.high}
    return {column: format_dice(value) for column, value in cells.items()}


def _out_of_fold_scores(
    config: PredictionConfig, runs: Sequence[RunDir], scores: pd.DataFrame | None
) -> pd.DataFrame | None:
    """Return the runs' out-of-fold scores; None if the held-out photos were predicted in another way."""
    if not all(run.holds_out for run in runs) or not runs:
        return None
    of_training = pd.concat([run.read_scores() for run in runs])
    if scores is not None:
        return scores[scores["img"].isin(of_training["img"])]
    recipe = runs[0].read_recipe()
    is_same = (config.tta, config.effective_threshold) == (recipe.tta, recipe.threshold)
    return of_training if is_same and len(config.members) == 1 else None
