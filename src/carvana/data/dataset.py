"""A data folder in the competition's layout.

`train/*.jpg`, `train_masks/*_mask.gif`, `train_masks.csv`, `metadata.csv`, `test/*.jpg`, `sample_submission.csv`.
This module only reads.
"""

import hashlib
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from carvana.arguments import command, option
from carvana.competition import names, rle
from carvana.data import images
from carvana.errors import UserError, prefix_errors
from carvana.files import describe_os_error, open_regular
from carvana.tables import TEXT, read_csv

_END_BYTES = 1 << 12
"""Bytes at each end of a large file that `content_digest` reads."""

_SMALL_BYTES = 1 << 16
"""Size up to which `content_digest` reads a whole file; a mask of the competition has about 10 kB."""


@dataclass(frozen=True)
class Sample:
    """A photo's file and, for a labelled photo, its mask's file."""

    path: Path
    mask: Path | None = None

    @property
    def name(self) -> str:
        """File name of the photo, e.g. `00087a6bd4dc_01.jpg`."""
        return self.path.name

    @property
    def car(self) -> str:
        """Car (12 hex digits) of the photo."""
        return names.car_id(self.name)

    def read_image(self) -> np.ndarray:
        """Read the photo as `images.read_image` does."""
        return images.read_image(self.path)

    def read_image_sizes(self, sizes_of: images.SizesOf) -> tuple[list[np.ndarray], tuple[int, int]]:
        """Read the photo at several sizes as `images.read_image_sizes` does."""
        return images.read_image_sizes(self.path, sizes_of)

    def read_mask(self) -> np.ndarray:
        """Read the mask, bool (height, width).

        Raises:
            UserError: the photo is not labelled, or its mask cannot be read.
        """
        if self.mask is None:
            raise UserError(f"{self.path}: has no mask")
        return images.read_mask(self.mask)


def train_samples(root: Path) -> list[Sample]:
    """List the labelled photos of a data folder, sorted by name.

    Raises:
        UserError: there are none, or a photo has no mask, or a mask has no photo.
    """
    masks = {path.name: path for path in (root / "train_masks").glob("*_mask.gif")}
    samples = []
    for path in _photos(root / "train"):
        mask = masks.pop(names.mask_name(path.name), None)
        if mask is None:
            expected = root / "train_masks" / names.mask_name(path.name)
            raise UserError(f"{path}: has no mask; expected {expected}")
        samples.append(Sample(path, mask))
    if masks:
        mask = min(masks.values())
        photo = mask.name.removesuffix("_mask.gif") + ".jpg"
        raise UserError(f"{mask}: has no photo; expected {root / 'train' / photo}")
    return samples


def test_samples(root: Path) -> list[Sample]:
    """List the test photos of a data folder, in the order of `sample_submission.csv`.

    Raises:
        UserError: there are none, or one that the sample submission lists is missing.
    """
    photos = {path.name: path for path in _photos(root / "test")}
    listed = submission_order(root)
    for name in listed:
        if name not in photos:
            raise UserError(f"{root / 'test' / name}: missing, though sample_submission.csv lists it")
    return [Sample(photos[name]) for name in listed]


def submission_order(root: Path) -> list[str]:
    """Return the photo names of a submission's rows, in order.

    Raises:
        UserError: the sample submission is missing or malformed, or lists no photos, or one more than once.
    """
    path = _table(root, "sample_submission.csv")
    listed = read_csv(path, {"img": TEXT})["img"].tolist()
    names.check_listed_once(listed, path)
    return listed


def car_mask_areas(root: Path) -> pd.Series:
    """Compute each training car's mean mask area in pixels from `train_masks.csv`; sorted index of cars.

    Raises:
        UserError: the table is malformed, lists a photo more than once, or lacks a photo of `train`.
    """
    photos, path = train_samples(root), _table(root, "train_masks.csv")
    masks = read_csv(path, {"img": TEXT, "rle_mask": TEXT})
    names.check_listed_once(masks["img"].tolist(), path)
    listed = set(masks["img"])
    for photo in photos:
        if photo.name not in listed:
            raise UserError(f"{path}: has no row for {photo.name}, which is in train/")
    masks = masks[masks["img"].isin([photo.name for photo in photos])]
    areas = pd.Series(
        [_area(mask, name, path) for name, mask in zip(masks["img"], masks["rle_mask"], strict=True)],
        index=masks["img"],
    )
    return areas.groupby(names.car_id).mean().rename_axis("img").sort_index()


def check_sizes(samples: Sequence[Sample]) -> None:
    """Raise UserError if a mask has another size than its photo. Only the headers of the files are read."""
    joblib.Parallel(n_jobs=-1, prefer="threads")(joblib.delayed(_check_size)(sample) for sample in samples)


def content_digest(paths: Iterable[Path]) -> str:
    """Return a SHA-256, in hex digits, of the names, the sizes and the content of files, in the given order.

    Files up to 64 kB, such as masks, are read whole, and of larger ones the first and the last 4 kB: thousands of
    photos in the system's cache take less than a second. Another photo of the same size differs in its last bytes,
    because a JPEG is one stream of codes whose lengths depend on the pixels.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
            if size <= _SMALL_BYTES:
                digest.update(file.read(_SMALL_BYTES))
            else:
                digest.update(file.read(_END_BYTES))
                file.seek(-_END_BYTES, os.SEEK_END)
                digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


def fingerprint(root: Path, folders: Sequence[str]) -> str:
    """Return a short text that identifies the content of some folders of `root`; see `content_digest`.

    If a file cannot be read, the text is the reason.
    """
    try:
        paths = [path for folder in folders for path in sorted((root / folder).iterdir()) if path.is_file()]
        return f"{len(paths):,} files, {content_digest(paths)[:12]}"
    except OSError as error:
        return describe_os_error(error)


def _photos(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise UserError(f"{folder}: holds no photos (*.jpg); {_advice(folder.parent)}")
    for path in paths:
        names.car_and_angle(path.name)
    return paths


def _table(root: Path, name: str) -> Path:
    """Return the path of a table of a data folder."""
    path = root / name
    if not os.path.lexists(path):
        raise UserError(f"{path}: no such file; {_advice(root)}")
    return path


def _advice(root: Path) -> str:
    """Return what to do about a data folder that lacks a part."""
    nearby = nearby_data_folder(root)
    if nearby:
        return f"the photos are in {nearby}: use --data {shlex.quote(str(nearby))}"
    fetched_alone = (root / "sample_submission.csv").is_file()  # by `predict --on kaggle`
    if fetched_alone or any(any((root / part).glob("*.jpg")) for part in ("train", "test")):
        download = command("prepare", "--source", "kaggle", *option("--data", root, "data"))
        return f"{download} downloads what the folder lacks"
    if root.is_dir() and any(root.iterdir()):
        return f"check the path: a data folder holds train/*.jpg, train_masks/*_mask.gif and so on, unlike {root}"
    if root.resolve() == Path("data").resolve():
        return f"{command('prepare')} gets them"
    render, kaggle = (
        command("prepare", "--data", root, "--source", name) for name in ("turntable", "kaggle")
    )
    return f"check the path; {kaggle} downloads the competition's photos into it, and {render} renders some"


def nearby_data_folder(root: Path) -> Path | None:
    """Return the data folder that is meant by a path one folder too deep or too high; None if there is none.

    Args:
        root: a folder without training photos, e.g. `carvana/train` where `carvana` is the data folder.
    """
    if any((root / "train").glob("*.jpg")):
        return None
    above = Path(os.path.normpath(root / ".."))
    candidates = [above, *sorted(folder.parent for folder in root.glob("*/train"))]
    return next((folder for folder in candidates if any((folder / "train").glob("*.jpg"))), None)


def _area(mask: str, name: str, path: Path) -> int:
    """Return the pixels of the mask of the photo `name` in the table at `path`."""
    with prefix_errors(f"{path}: {name}"):
        return int(rle.parse_runs(mask)[1].sum())


def _check_size(sample: Sample) -> None:
    if sample.mask is None:
        return
    photo_size, mask_size = images.photo_size(sample.path), images.mask_size(sample.mask)
    if photo_size != mask_size:
        raise UserError(
            f"{sample.mask}: is {mask_size[1]}x{mask_size[0]}, its photo {photo_size[1]}x{photo_size[0]}"
        )
