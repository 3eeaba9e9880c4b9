"""From trained folds to submissions that are written, checked and in the ledger."""

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from carvana import console
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.evaluation.scores import mean_with_ci
from carvana.files import atomic_path, sha256_of_file
from carvana.inference.config import PredictionConfig
from carvana.locks import file_lock
from carvana.runs import RunDir
from carvana.submission.csv_file import Check, check_submission, submission_stem, write_submission
from carvana.submission.ledger import Ledger, LedgerRow, commit, now
from carvana.tasks import Executor

if TYPE_CHECKING:
    from carvana.inference.shards import Shard


@dataclass(frozen=True)
class SubmissionSpec:
    """A submission's file, and what is known of the networks whose mean it is."""

    path: Path
    config: PredictionConfig
    runs: Sequence[RunDir]
    """Of the first part that has any."""
    scores: pd.DataFrame | None = None
    """Columns img and dice, out of fold, of photos that were asked this very config; None where none were."""

    @property
    def fold(self) -> str:
        """The ledger's word for the runs: a fold's number, or `all`."""
        if not self.runs or len(self.runs) == len(self.runs[0].read_metadata()["folds"]):
            return "all"
        return str(self.runs[0].fold)

    @property
    def folds(self) -> str:
        """The name of the runs' fold table."""
        return self.runs[0].read_metadata()["table"] if self.runs else ""


def submission_specs(
    config: PredictionConfig, path: Path, scores: pd.DataFrame | None = None
) -> list[SubmissionSpec]:
    """The submission of all networks together at `path`; where each is kept, also one a fold (`-fold0`, ...).

    Args:
        config: that the photos are asked.
        path: of the submission.
        scores: out of fold, where the held-out photos were asked the same; by default those of the training, if
            it asked them so.
    """
    runs = next((part.runs for part in config.members if part.runs), ())
    groups = [(path, runs), *((fold_path(path, run.fold), (run,)) for run in runs if config.per_fold)]
    return [
        SubmissionSpec(file, config, of_file, _scores(config, of_file, scores)) for file, of_file in groups
    ]


def _scores(
    config: PredictionConfig, runs: Sequence[RunDir], scores: pd.DataFrame | None
) -> pd.DataFrame | None:
    trained = pd.concat([run.read_scores() for run in runs]) if runs else None
    if scores is not None and trained is not None:
        return scores[scores["img"].isin(trained["img"])]
    if trained is None or len(config.members) > 1:
        return None
    recipe = runs[0].read_recipe()
    return trained if (config.tta, config.threshold) == (recipe.tta, recipe.threshold) else None


def fold_path(path: Path, fold: int) -> Path:
    """Where a fold's own submission lies beside the ensemble's: `x.csv.gz` -> `x-fold0.csv.gz`."""
    stem = submission_stem(path).name
    return path.with_name(f"{stem}-fold{fold}{path.name.removeprefix(stem)}")


@dataclass(frozen=True)
class TestPrediction:
    """What came of a prediction."""

    checks: list[Check]
    """What each entry's submission holds."""
    facts: pd.DataFrame | None
    """Of each photo's mask, as `mask_checks.rank_suspects` takes them; None where all was predicted already."""


def predict_test_set(
    entries: Sequence[SubmissionSpec], photos: Sequence[Sample], crew: Executor | None = None
) -> TestPrediction:
    """Predict `photos` for all entries in one pass, and write submissions and ledger rows.

    The work is kept in shards beside the first submission until all is written, so that the same call goes on where
    it was killed.

    Args:
        entries: as `submission_specs` gives them.
        photos: in the order of the rows.
        crew: predicts the shards; by default this process, in one stream.

    Returns:
        What there is. A submission that is there already, from these weights and asked so, is kept.
    """
    folder = entries[0].path.with_name(f".{submission_stem(entries[0].path).name}.shards")
    with file_lock(folder.with_suffix(".lock"), console):
        return _predict(entries, photos, folder, crew)


def _predict(
    entries: Sequence[SubmissionSpec], photos: Sequence[Sample], folder: Path, crew: Executor | None
) -> TestPrediction:
    if all(_is_current(entry) for entry in entries):
        sizes = photo_sizes(photos)
        checks = [_check_or_none(entry, sizes) for entry in entries]
        if None not in checks:
            shutil.rmtree(folder, ignore_errors=True)
            for entry in entries:
                console.message(f"{entry.path}: predicted already")
            return TestPrediction(checks, None)
    facts = _write(entries, photos, folder, crew)
    sizes = {name: (height, width) for name, height, width in facts[["img", "height", "width"]].to_numpy()}
    checks = [check_against_photos(entry.path, sizes) for entry in entries]
    for entry in entries:
        Ledger.beside(entry.path).add(_row(entry))
    shutil.rmtree(folder, ignore_errors=True)
    return TestPrediction(checks, facts)


def photo_sizes(photos: Sequence[Sample]) -> dict[str, tuple[int, int]]:
    """The (height, width) of each photo, by its name: what `check_against_photos` holds submissions against."""
    return {photo.name: images.photo_size(photo.path) for photo in photos}


def check_against_photos(path: Path, sizes: dict[str, tuple[int, int]]) -> Check:
    """Check a submission against the photos that it is for, whose `photo_sizes` are given.

    Raises:
        UserError: as `check_submission`.
    """
    return check_submission(path, list(sizes), sizes.__getitem__)


def _write(
    entries: Sequence[SubmissionSpec], photos: Sequence[Sample], folder: Path, crew: Executor | None
) -> pd.DataFrame:
    """Predict what is missing of the shards, write the submissions from them, and give the rows' facts."""
    from carvana.inference import shards  # late: TensorFlow takes seconds to import

    config = entries[0].config
    parts = shards.make_shards(photos, folder)
    _begin(folder, config)
    done = sum(len(shard.photos) for shard in parts if shard.finished)
    if done:
        console.message(f"{entries[0].path}: goes on after {done:,} of {len(photos):,} photos")
    title = f"predict with fold {entries[0].fold}, tta {config.tta}"
    if crew is not None and done < len(photos):
        job = shards.PredictionJob(config, photos[0].path.parent, folder, title)
        crew(job, [shard for shard in parts if not shard.finished])
    elif done < len(photos):
        blend = config.load()
        with console.progress(title, len(photos) - done, "photos") as advance:
            shards.predict_shards(config, blend, parts, advance)
    return write_from_shards(parts, [entry.path for entry in entries])


def write_from_shards(parts: Sequence["Shard"], paths: Sequence[Path]) -> pd.DataFrame:
    """Write submissions from finished shards, a mask of each row to each; the rows are never in memory at once.

    Returns:
        What is known of each mask of the first submission: columns img, height, width, area, pieces, second and
        disagreement, as `rows.LedgerRow` has them.
    """
    from carvana.inference.shards import FIELDS, read_records  # late, as above

    tables = []
    with ExitStack() as files:
        writers = [files.enter_context(write_submission(path)) for path in paths]
        for part in parts:
            facts = []
            for row in read_records(part):
                *fact, masks = row
                facts.append(fact)
                for write, mask in zip(writers, masks, strict=True):
                    write(row.name, mask)
            tables.append(pd.DataFrame(facts, columns=["img", *FIELDS[1:]]))
    return pd.concat(tables, ignore_index=True)


def _begin(folder: Path, config: PredictionConfig) -> None:
    """Forget shards that another config made, and write down this one."""
    asked, text = folder / "asked.json", json.dumps(config.fingerprint(), indent=2)
    if asked.is_file() and asked.read_text() == text:
        return
    shutil.rmtree(folder, ignore_errors=True)
    with atomic_path(asked) as part:
        part.write_text(text)


def _row(entry: SubmissionSpec) -> LedgerRow:
    return {
        **_asked(entry),
        **_cross_validation(entry),
        "folds": entry.folds,
        "when": now(),
        "commit": commit(),
        "sha256": sha256_of_file(entry.path),
    }


def _cross_validation(entry: SubmissionSpec) -> LedgerRow:
    """The out-of-fold Dice and its interval; nothing where the held-out photos were asked in another way."""
    if entry.scores is None:
        return {}
    result = mean_with_ci(entry.scores)
    return {"cv_dice": f"{result.dice:.6f}", "cv_low": f"{result.low:.6f}", "cv_high": f"{result.high:.6f}"}


def _asked(entry: SubmissionSpec) -> LedgerRow:
    """The ledger's columns that say which networks were asked, and how."""
    return {
        "submission": entry.path.name,
        "recipe": entry.config.name,
        "fold": entry.fold,
        "tta": entry.config.tta,
        "threshold": f"{entry.config.threshold:g}",
    }


def _is_current(entry: SubmissionSpec) -> bool:
    """Whether a submission is there, with the maps that shall be kept, newer than its networks, and asked so."""
    used = [run.model for part in entry.config.members for run in part.runs]
    used += [part.maps for part in entry.config.members if part.maps]
    newest = max(path.stat().st_mtime for path in used)
    made = [entry.path] + [entry.config.maps_dir] * (entry.config.maps_dir is not None)
    if not all(path.exists() and path.stat().st_mtime >= newest for path in made):
        return False
    row = Ledger.beside(entry.path).find(entry.path.name, sha256_of_file(entry.path))
    return row is not None and all(row[column] == text for column, text in _asked(entry).items())


def _check_or_none(entry: SubmissionSpec, sizes: dict[str, tuple[int, int]]) -> Check | None:
    try:
        return check_against_photos(entry.path, sizes)
    except UserError:
        return None
