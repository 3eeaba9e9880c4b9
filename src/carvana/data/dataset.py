"""A data folder of the competition's own form.

`train/*.jpg`, `train_masks/*_mask.gif`, `train_masks.csv`, `metadata.csv`, `test/*.jpg`,
`sample_submission.csv`. Nothing in it is ever written by this module.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from carvana.competition import names, rle
from carvana.data import images
from carvana.errors import UserError
from carvana.tables import read_csv


@dataclass(frozen=True)
class Sample:
    """A photo's file and, where it is known, its mask's file."""

    path: Path
    mask: Path | None = None

    @property
    def name(self) -> str:
        """The file's name, e.g. `00087a6bd4dc_01.jpg`."""
        return self.path.name

    @property
    def car(self) -> str:
        """The car (12 hex digits) that it shows."""
        return names.car_id(self.name)

    def read_mask(self) -> np.ndarray:
        """Read the mask, bool (height, width), of a sample that has one.

        Raises:
            UserError: the file is missing or is not a complete image.
        """
        assert self.mask is not None, f"{self.path} has no mask"
        return images.read_mask(self.mask)


def train_samples(root: Path) -> list[Sample]:
    """The labelled photos, sorted by name.

    Raises:
        UserError: there is none; a photo has no mask, or a mask no photo.
    """
    photos = _photos(root / "train")
    masks = {path.name: path for path in (root / "train_masks").glob("*_mask.gif")}
    labelled = []
    for path in photos:
        mask = masks.pop(names.mask_name(path.name), None)
        if mask is None:
            missing = root / "train_masks" / names.mask_name(path.name)
            raise UserError(f"{path}: has no mask; expected {missing}")
        labelled.append(Sample(path, mask))
    if masks:
        mask = min(masks.values())
        photo = mask.name.removesuffix("_mask.gif") + ".jpg"
        raise UserError(f"{mask}: has no photo; expected {root / 'train' / photo}")
    return labelled


def test_samples(root: Path) -> list[Sample]:
    """The photos to predict, in the order of `sample_submission.csv`.

    Raises:
        UserError: there is none, or the sample submission names one that is not there.
    """
    photos = {path.name: path for path in _photos(root / "test")}
    wanted = submission_order(root)
    for name in wanted:
        if name not in photos:
            raise UserError(f"{root / 'test' / name}: missing, though sample_submission.csv asks for it")
    return [Sample(photos[name]) for name in wanted]


def submission_order(root: Path) -> list[str]:
    """The photos' names that a submission must hold, in the order of its rows."""
    return read_csv(root / "sample_submission.csv", ["img"])["img"].tolist()


def car_mask_areas(root: Path) -> pd.Series:
    """Each training car's mean mask area in pixels, from `train_masks.csv`; indexed by car, sorted."""
    path = root / "train_masks.csv"
    masks = read_csv(path, ["img", "rle_mask"])
    listed, photos = set(masks["img"]), train_samples(root)
    for photo in photos:
        if photo.name not in listed:
            raise UserError(f"{path}: has no row for {photo.name}, which lies in train/")
    masks = masks[masks["img"].isin([photo.name for photo in photos])]
    areas = masks["rle_mask"].map(lambda text: int(rle.parse_runs(text)[1].sum()))
    return areas.groupby(masks["img"].map(names.car_id)).mean().sort_index()


def check_sizes(photos: Sequence[Sample]) -> None:
    """Raise UserError where a mask has another size than its photo. Reads the headers only."""
    joblib.Parallel(n_jobs=-1, prefer="threads")(joblib.delayed(_check_size)(photo) for photo in photos)


def fingerprint(root: Path, folders: Sequence[str]) -> str:
    """Names what lies in some folders of `root`: all files with their sizes in bytes. Reads none of them."""
    digest, count = hashlib.sha256(), 0
    for folder in folders:
        try:
            with os.scandir(root / folder) as entries:
                listed = sorted((entry.name, entry.stat().st_size) for entry in entries)
        except OSError as error:
            return f"{root / folder}: {error.strerror}"
        count += len(listed)
        digest.update(repr((folder, listed)).encode())
    return f"{count:,} files, {digest.hexdigest()[:12]}"


def _photos(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise UserError(
            f"{folder}: holds no photos (*.jpg); `./run.sh prepare --data {folder.parent}` makes some"
        )
    for path in paths:
        names.car_and_angle(path.name)
    return paths


def _check_size(photo: Sample) -> None:
    photo_size, mask_size = images.photo_size(photo.path), images.mask_size(photo.mask)
    if photo_size != mask_size:
        raise UserError(
            f"{photo.mask}: is {mask_size[1]}x{mask_size[0]}, its photo {photo_size[1]}x{photo_size[0]}"
        )
