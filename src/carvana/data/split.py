"""Training and validation photos of a fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana.data.dataset import Sample, content_digest
from carvana.data.folds import parse_fold_number, read_folds, select_folds
from carvana.errors import UserError
from carvana.files import sha256_of_text


@dataclass(frozen=True)
class Split:
    """The labelled photos of a data folder with the folds of their cars."""

    photos: tuple[Sample, ...]
    folds: pd.Series
    """Fold of each car of the photos, indexed by car."""
    table: str
    """Name of the fold table, e.g. `carvana-5`."""
    absent: int
    """Number of cars of the fold table without photos; they are skipped."""

    @classmethod
    def read(cls, photos: list[Sample], path: Path) -> "Split":
        """Assign `photos` to folds by the fold table at `path`.

        Raises:
            UserError: the table is malformed, or lacks a car of the photos.
        """
        data = photos[0].path.parent.parent
        table = read_folds(path, data)
        folds = select_folds(table, {photo.car for photo in photos}, path, data)
        return cls(tuple(photos), folds, path.stem, len(table) - len(folds))

    @property
    def numbers(self) -> list[int]:
        """Folds with at least one car of the data, ascending."""
        return sorted(self.folds.unique().tolist())

    def select(self, folds: Sequence[str]) -> list[int]:
        """Return the numbers of folds of the command line, each once: a number, or `all`.

        Raises:
            UserError: a text is neither a number nor `all`.
        """
        chosen: list[int] = []
        for number in map(parse_fold, folds):
            chosen += self.numbers if number is None else [number]
        return list(dict.fromkeys(chosen))

    def train_val(self, fold: int | None) -> tuple[list[Sample], list[Sample]]:
        """Return the training photos and the validation photos of a fold, which is held out of training.

        If `fold` is None, no fold is held out: all photos are training photos.

        Raises:
            UserError: the fold does not exist, or contains all cars of the data.
        """
        if fold is None:
            return list(self.photos), []
        if fold not in self.numbers:
            known = ", ".join(map(str, self.numbers))
            raise UserError(f"fold {fold}: not in the fold table {self.table}; for these cars it has {known}")
        val = [photo for photo in self.photos if self.folds[photo.car] == fold]
        train = [photo for photo in self.photos if self.folds[photo.car] != fold]
        if not train:
            raise UserError(f"fold {fold}: contains all cars of the data; none is left for training")
        return train, val

    def fingerprint(self) -> str:
        """Return a SHA-256 of the content of photos and masks, and of their folds; see `content_digest`."""
        content = content_digest(file for photo in self.photos for file in (photo.path, photo.mask) if file)
        folds = [f"{photo.name} {self.folds[photo.car]}" for photo in self.photos]
        return sha256_of_text("\n".join([content, *folds]))


def parse_fold(text: str) -> int | None:
    """Parse a fold of the command line: its number, or None for `all`.

    Raises:
        UserError: the text is neither a number nor `all`.
    """
    number = parse_fold_number(text)
    if number is None and text != "all":
        raise UserError(f"--fold {text}: expected the number of a fold (0, 1, 2, ...), or all")
    return number


def parse_single_fold(folds: Sequence[str]) -> int | None:
    """Parse the fold of a command line that takes one: its number, or None for `all` and for no text.

    Raises:
        UserError: there are several texts, or `parse_fold` raises it.
    """
    if len(folds) > 1:
        raise UserError(f"--fold {' --fold '.join(folds)}: give one fold, or all for the mean of all folds")
    return parse_fold(folds[0]) if folds else None


def fold_name(number: int | None) -> str:
    """Return the text that `parse_fold` parses into a number or None."""
    return "all" if number is None else str(number)
