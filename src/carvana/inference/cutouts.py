"""Cut-outs of cars from any photos: a transparent PNG and a mask of each."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from carvana.competition import rle
from carvana.console import ProgressCallback
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.data.timing import PipelineTimer
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.inference.config import PredictionConfig, update_record
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import WeightedEnsemble, save_map


@dataclass(frozen=True)
class Cutout:
    """The files that were made of a photo."""

    photo: Path
    size: tuple[int, int]
    """The photo's (height, width)."""
    share: float
    """Share of the photo's pixels that are car, 0..1."""
    cutout: Path
    mask: Path


def find_photos(pattern: str, folder: Path) -> list[Sample]:
    """Find the photos of a pattern (`photos/*.jpg`) or a folder, sorted by path.

    Args:
        pattern: the pattern or folder.
        folder: the folder that their cut-outs will be written to.

    Raises:
        UserError: there is no photo, two photos have the same cut-out file, or a photo would be overwritten.
    """
    found = glob.glob(_literal_brackets(os.path.expanduser(pattern)), recursive=True)
    paths = sorted(path for path in map(Path, found) if path.is_file())
    if not paths:
        raise UserError(f"--images {pattern}: names no photo; quote a pattern, as in --images 'photos/*.jpg'")
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise UserError(
                f"{by_stem[path.stem]} and {path}: would both become {path.stem}.png; give one at a time"
            )
        by_stem[path.stem] = path
    written = {os.path.realpath(file) for path in paths for file in _files(path, folder)}
    overwritten = [path for path in paths if os.path.realpath(path) in written]
    if overwritten:
        raise UserError(f"{overwritten[0]}: would be overwritten; choose another folder with --cutouts")
    return [Sample(path) for path in paths]


def _literal_brackets(pattern: str) -> str:
    """Return a pattern whose brackets are literal where they belong to the name of an existing file or folder.

    A folder stands for all files in it.
    """
    path = Path(pattern)
    if os.path.isdir(path):
        return str(Path(glob.escape(str(path))) / "*")
    existing = next(one for one in (path, *path.parents) if os.path.exists(one))
    return str(Path(str(existing).replace("[", "[[]")) / path.relative_to(existing))


def pending(config: PredictionConfig, photos: Sequence[Sample], folder: Path, *, maps: bool) -> list[Sample]:
    """Return the photos that still have to be cut out, so that an interrupted run resumes.

    The folder holds a record of the configuration. A photo is cut out if its files are newer than the photo and than
    the start of the prediction with this configuration.
    """
    record = folder / ".prediction.json"
    update_record(record, config)
    started = record.stat().st_mtime

    def is_done(photo: Sample) -> bool:
        oldest = max(started, photo.path.stat().st_mtime)
        files = _files(photo.path, folder)[: 3 if maps else 2]
        return all(file.is_file() and file.stat().st_mtime >= oldest for file in files)

    return [photo for photo in photos if not is_done(photo)]


def cut_out(
    ensemble: WeightedEnsemble,
    threshold: float,
    photos: Sequence[Sample],
    folder: Path,
    *,
    maps: bool,
    advance: ProgressCallback,
) -> Iterator[Cutout]:
    """Cut cars out of photos.

    Args:
        ensemble: predicts the probability maps.
        threshold: pixels whose probability is above it are car.
        photos: JPEG, PNG or any other image that Pillow reads, of any size.
        folder: NAME.png (transparent) and NAME_mask.png (0 and 255) are written there.
        maps: also write NAME_map.png, the probability as 0 to 255, at the size of the map.
        advance: called for each photo, with a note on the slowest step.

    Yields:
        The files of each photo, in order.

    Raises:
        UserError: a file is not a complete image.
    """
    timer = PipelineTimer()

    def write(prediction: Prediction) -> Cutout:
        return _write(prediction, threshold, folder, maps)

    for cutout in predict_stream(ensemble, photos, write, timer=timer, keep_aspect=True):
        advance(1, timer.bottleneck())
        yield cutout


def _write(prediction: Prediction, threshold: float, folder: Path, maps: bool) -> Cutout:
    photo, size = prediction.sample.path, prediction.photo_size
    mask = rle.edges_to_mask(prediction.edges(threshold), size)
    alpha = mask.view(np.uint8) * np.uint8(255)
    cutout, mask_file, map_file = _files(photo, folder)
    pixels = images.read_image(photo)  # read again: the queue of large photos would not fit in memory
    _write_png(cutout, np.dstack([pixels[..., ::-1], alpha]))  # OpenCV's order is blue, green, red
    _write_png(mask_file, alpha)
    if maps:
        save_map(map_file, prediction.maps[0])
    return Cutout(photo, size, float(mask.mean()), cutout, mask_file)


def _files(photo: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Return the files of a photo's cut-out, mask and map."""
    stem = photo.stem
    return folder / f"{stem}.png", folder / f"{stem}_mask.png", folder / f"{stem}_map.png"


def _write_png(path: Path, image: np.ndarray) -> None:
    with atomic_path(path) as part:
        part.write_bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())
