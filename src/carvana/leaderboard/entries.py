"""From trained folds to submissions that are written, checked and in the ledger."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana import console
from carvana.data import images
from carvana.data.folder import Photo
from carvana.errors import InputError
from carvana.leaderboard.ledger import Ledger, Row, commit, now, sha256
from carvana.leaderboard.scoring import summary
from carvana.leaderboard.submission import Check, check_submission, write_submission
from carvana.models.run import Run
from carvana.recipe import Recipe


@dataclass(frozen=True)
class Entry:
    """A submission's file and the runs whose mean it is."""

    path: Path
    runs: Sequence[Run]

    @property
    def fold(self) -> str:
        """The ledger's word for the runs: a fold's number, or `all`."""
        folds = self.runs[0].read_facts()["folds"]
        return "all" if len(self.runs) == len(folds) else str(self.runs[0].fold)


def entries_of(runs: Sequence[Run], path: Path, *, each: bool) -> list[Entry]:
    """The submission of all `runs` together at `path`, and with `each` one a fold beside it (`-fold0`, ...)."""
    together = Entry(path, runs)
    return [together, *(Entry(fold_path(path, run.fold), [run]) for run in runs)] if each else [together]


def fold_path(path: Path, fold: int) -> Path:
    """Where a fold's own submission lies beside the ensemble's: `x.csv.gz` -> `x-fold0.csv.gz`."""
    stem, dot, ending = path.name.partition(".")
    return path.with_name(f"{stem}-fold{fold}{dot}{ending}")


def predict_entries(entries: Sequence[Entry], recipe: Recipe, photos: Sequence[Photo]) -> list[Check]:
    """Predict `photos` for all entries in one pass, and write submissions and ledger rows.

    Args:
        entries: as `entries_of` gives them.
        recipe: how the networks are asked (size, tta, threshold).
        photos: in the order of the rows.

    Returns:
        What each submission holds. One that is there already, from these weights and asked so, is kept.
    """
    sizes = photo_sizes(photos)
    checks = [_check_if_current(entry, recipe, sizes) for entry in entries]
    if None not in checks:
        for entry in entries:
            console.say(f"{entry.path}: predicted already")
        return checks
    with ExitStack() as files:
        writers = [files.enter_context(write_submission(entry.path)) for entry in entries]
        for name, masks in _predict(entries, recipe, photos):
            for write, mask in zip(writers, masks, strict=True):
                write(name, mask)
    for entry in entries:
        Ledger.beside(entry.path).add(_row(entry, recipe))
    return [check_entry(entry.path, sizes) for entry in entries]


def photo_sizes(photos: Sequence[Photo]) -> dict[str, tuple[int, int]]:
    """The (height, width) of each photo, by its name: what `check_entry` holds submissions against."""
    return {photo.name: images.photo_size(photo.path) for photo in photos}


def check_entry(path: Path, sizes: dict[str, tuple[int, int]]) -> Check:
    """Check a submission against the photos that it is for, whose `photo_sizes` are given.

    Raises:
        InputError: as `check_submission`.
    """
    return check_submission(path, list(sizes), sizes.__getitem__)


def _predict(
    entries: Sequence[Entry], recipe: Recipe, photos: Sequence[Photo]
) -> Iterator[tuple[str, list[str]]]:
    from carvana.prediction.stream import Ensemble, rle_rows  # late: TensorFlow takes seconds to import

    together = entries[0]
    ensemble = Ensemble.load(together.runs, recipe)
    title = f"predict with fold {together.fold}, tta {recipe.tta}"
    with console.progress(title, len(photos), "photos") as advance:
        for name, masks in rle_rows(ensemble, photos, each=len(entries) > 1):
            yield name, masks
            advance()


def _row(entry: Entry, recipe: Recipe) -> Row:
    return {
        **_asked(entry, recipe),
        **_cross_validation(entry, recipe),
        "folds": entry.runs[0].read_facts()["table"],
        "when": now(),
        "commit": commit(),
        "sha256": sha256(entry.path),
    }


def _cross_validation(entry: Entry, recipe: Recipe) -> Row:
    """The out-of-fold Dice and its interval; nothing where the held-out photos were asked in another way."""
    trained = entry.runs[0].read_recipe()
    if (recipe.tta, recipe.threshold) != (trained.tta, trained.threshold):
        return {}
    result = summary(pd.concat([run.read_scores() for run in entry.runs]))
    return {"cv_dice": f"{result.dice:.6f}", "cv_low": f"{result.low:.6f}", "cv_high": f"{result.high:.6f}"}


def _asked(entry: Entry, recipe: Recipe) -> Row:
    """The ledger's columns that say which networks were asked, and how."""
    return {
        "submission": entry.path.name,
        "recipe": recipe.name,
        "fold": entry.fold,
        "tta": recipe.tta,
        "threshold": f"{recipe.threshold:g}",
    }


def _check_if_current(entry: Entry, recipe: Recipe, sizes: dict[str, tuple[int, int]]) -> Check | None:
    """What a submission holds that need not be predicted again, or None."""
    newest = max(run.model.stat().st_mtime for run in entry.runs)
    if not entry.path.is_file() or entry.path.stat().st_mtime < newest:
        return None
    row = Ledger.beside(entry.path).find(entry.path.name, sha256(entry.path))
    if row is None or any(row[column] != text for column, text in _asked(entry, recipe).items()):
        return None
    try:
        return check_entry(entry.path, sizes)
    except InputError:
        return None
