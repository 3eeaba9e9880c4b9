"""Cars cut out of any photos: a transparent PNG and a mask of each."""

import glob
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from carvana.console import ProgressCallback
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.data.timing import PipelineTimer
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.inference.config import PredictionConfig
from carvana.inference.maps import mask_of
from carvana.inference.pipeline import Prediction, PreparedSample, predict_stream
from carvana.inference.predictors import Predictor, WeightedEnsemble, encode_map

_SAME_SHAPE = 0.01
"""Difference of proportions, as a share, that is not worth a size of its own: Carvana photos are 0.1% off."""


@dataclass(frozen=True)
class Cutout:
    """What was made of a photo."""

    photo: Path
    size: tuple[int, int]
    """Its (height, width)."""
    share: float
    """Of the photo that is car."""
    cutout: Path
    mask: Path


def photos_of(pattern: str, folder: Path) -> list[Sample]:
    """The photos that a pattern names (`photos/*.jpg`, or a folder), sorted, to be cut out into a folder.

    Raises:
        UserError: there is none; two would be cut out into the same file, or one into itself.
    """
    asked = Path(pattern).expanduser()
    found = glob.glob(str(asked / "*" if asked.is_dir() else asked), recursive=True)
    paths = sorted(path for path in map(Path, found) if path.is_file())
    if not paths:
        raise UserError(f"--images {pattern}: names no photo; quote a pattern, as in --images 'photos/*.jpg'")
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise UserError(
                f"{by_stem[path.stem]} and {path}: would both become {path.stem}.png; take one at a time"
            )
        by_stem[path.stem] = path
    written = {file.resolve() for path in paths for file in _files(path, folder)}
    overwritten = [path for path in paths if path.resolve() in written]
    if overwritten:
        raise UserError(f"{overwritten[0]}: would be overwritten; choose another folder with --cutouts")
    return [Sample(path) for path in paths]


def pending(config: PredictionConfig, photos: Sequence[Sample], folder: Path, *, maps: bool) -> list[Sample]:
    """The photos that are still to be cut out into a folder; a run that was stopped goes on with them.

    The folder remembers what its photos were asked, and when that was begun: files from before are written anew.
    """
    asked, text = folder / ".asked.json", json.dumps(config.fingerprint(), indent=2)
    if not (asked.is_file() and asked.read_text() == text):
        with atomic_path(asked) as part:
            part.write_text(text)
    begun = asked.stat().st_mtime

    def is_there(photo: Sample) -> bool:
        oldest = max(begun, photo.path.stat().st_mtime)
        files = _files(photo.path, folder)[: 3 if maps else 2]
        return all(file.is_file() and file.stat().st_mtime >= oldest for file in files)

    return [photo for photo in photos if not is_there(photo)]


def cut_out(
    blend: WeightedEnsemble,
    threshold: float,
    photos: Sequence[Sample],
    folder: Path,
    *,
    maps: bool,
    advance: ProgressCallback,
) -> Iterator[Cutout]:
    """Cut cars out of photos.

    Args:
        blend: whom to ask.
        threshold: car is where the probability is above.
        photos: JPEG, PNG and whatever else Pillow reads, of any size.
        folder: NAME.png (transparent) and NAME_mask.png (0 and 255) are written there.
        maps: also write NAME_map.png, the probability as 0 to 255, at the network's size.
        advance: told of each photo.

    Yields:
        What was made of each photo, in order.

    Raises:
        UserError: a file is no image.
    """

    def read(photo: Sample) -> PreparedSample:
        pixels = images.read_image(photo.path)
        own = pixels.shape[:2]
        views = [
            source.prepare(photo.name, images.resize(pixels, _seen_at(own, source)) if source.size else None)
            for source in blend.sources
        ]
        return PreparedSample(photo, own, views)

    stages = PipelineTimer()
    for cutout in predict_stream(blend, photos, _writer(threshold, folder, maps), stages=stages, read=read):
        advance(1, stages.slowest())
        yield cutout


def fit_size(own: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) that a photo of another shape is seen at: as many pixels as `size` has.

    A portrait photo that was squeezed into a landscape size_spec would hold a car that no network has seen.
    """
    if abs(own[0] * size[1] / (own[1] * size[0]) - 1) <= _SAME_SHAPE:
        return size
    scale = math.sqrt(math.prod(size) / math.prod(own))
    return max(1, round(own[0] * scale)), max(1, round(own[1] * scale))


def _seen_at(own: tuple[int, int], source: Predictor) -> tuple[int, int]:
    return fit_size(own, source.size) if source.any_size else source.size


def _writer(threshold: float, folder: Path, maps: bool) -> Callable[[Prediction], Cutout]:
    def write(answer: Prediction) -> Cutout:
        seen = answer.sample
        mask = mask_of(answer.maps[0], seen.photo_size, threshold)
        alpha = mask.view(np.uint8) * np.uint8(255)
        cutout, mask_file, map_file = _files(seen.sample.path, folder)
        pixels = images.read_image(
            seen.sample.path
        )  # once more: dozens of large photos would not fit in memory
        _write_png(cutout, np.dstack([pixels[..., ::-1], alpha]))  # OpenCV has blue first
        _write_png(mask_file, alpha)
        if maps:
            with atomic_path(map_file) as part:
                part.write_bytes(encode_map(answer.maps[0]))
        return Cutout(seen.sample.path, seen.photo_size, float(mask.mean()), cutout, mask_file)

    return write


def _files(photo: Path, folder: Path) -> tuple[Path, Path, Path]:
    """The cut-out's, the mask's and the map's file."""
    return tuple(folder / f"{photo.stem}{ending}.png" for ending in ("", "_mask", "_map"))


def _write_png(path: Path, image: np.ndarray) -> None:
    with atomic_path(path) as part:
        part.write_bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())
