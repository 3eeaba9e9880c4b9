"""One fold's photos: to train on, and held out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carvana.data.dataset import Sample
from carvana.data.folds import read_folds, select_folds
from carvana.errors import UserError


@dataclass(frozen=True)
class Split:
    """The labelled photos of a data folder, dealt to folds by car."""

    photos: tuple[Sample, ...]
    folds: pd.Series
    """The fold of each of their cars, indexed by car."""
    table: str
    """The fold table's name, e.g. `carvana-5`."""
    absent: int
    """Cars of the fold table that the data lacks; they are skipped."""

    @classmethod
    def read(cls, photos: list[Sample], path: Path) -> "Split":
        """Deal `photos` as the fold table at `path` says.

        Raises:
            UserError: the table is malformed, or lacks a car of the photos.
        """
        table = read_folds(path)
        folds = select_folds(table, {photo.car for photo in photos}, path)
        return cls(tuple(photos), folds, path.stem, len(table) - len(folds))

    @property
    def numbers(self) -> list[int]:
        """The folds that hold a car of the data, ascending."""
        return sorted(self.folds.unique().tolist())

    def train_val(self, fold: int) -> tuple[list[Sample], list[Sample]]:
        """The photos to train on and those held out, of one fold.

        Raises:
            UserError: there is no such fold, or it leaves nothing to train on.
        """
        if fold not in self.numbers:
            known = ", ".join(map(str, self.numbers))
            raise UserError(f"fold {fold}: not in the fold table {self.table}; for these cars it has {known}")
        held_out = [photo for photo in self.photos if self.folds[photo.car] == fold]
        train = [photo for photo in self.photos if self.folds[photo.car] != fold]
        if not train:
            raise UserError(f"fold {fold}: holds every car of the data; nothing is left to train on")
        return train, held_out

    def fingerprint(self) -> str:
        """Names this split: the photos with their sizes in bytes, and the fold of each car."""
        lines = [f"{photo.name} {photo.path.stat().st_size} {self.folds[photo.car]}" for photo in self.photos]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def parse_fold(text: str) -> int | None:
    """Read a fold from the command line: its number, or None for `all`.

    Raises:
        UserError: it is neither.
    """
    if text != "all" and not text.isdigit():
        raise UserError(f"--fold {text}: expected a number, or all")
    return None if text == "all" else int(text)
