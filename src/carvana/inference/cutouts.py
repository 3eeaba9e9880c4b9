"""Cut-outs of cars from any photos: a transparent PNG and a mask of each."""

import glob
import json
import os
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from carvana import console
from carvana.arguments import option
from carvana.competition import rle
from carvana.console import ProgressCallback, Reporter
from carvana.data.dataset import Sample, content_digest
from carvana.data.images import has_image_ending
from carvana.data.timing import PipelineTimer
from carvana.errors import UserError
from carvana.files import delete_partial, sha256_of_text
from carvana.inference.config import PredictionConfig
from carvana.inference.foreground import alpha_channel, cut_out
from carvana.inference.output_record import OutputRecord
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import WeightedEnsemble, encode_map


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


def find_photos(patterns: Iterable[str], reporter: Reporter = console) -> list[Sample]:
    """Find the photos of patterns (`photos/*.jpg`), folders and files, each photo once, sorted by path.

    A folder stands for the images directly in it, hidden ones excepted; files whose names do not end like those of
    images are left out, and `reporter` gets a line about them. Files that a pattern names are not filtered.

    Raises:
        UserError: one of the patterns names no photo.
    """
    by_place = {
        os.path.abspath(path): path for pattern in patterns for path in _files_of_pattern(pattern, reporter)
    }
    return [Sample(path) for path in sorted(by_place.values())]


def _files_of_pattern(pattern: str, reporter: Reporter) -> list[Path]:
    expanded, advice = os.path.expanduser(pattern), "check the path, or give a folder of photos"
    found = glob.glob(_literal_brackets(expanded), recursive=True)
    paths = [path for path in map(Path, found) if path.is_file()]
    if os.path.isdir(expanded):
        inner = shlex.join(option("--images", Path(pattern) / "**" / "*.jpg"))
        advice = f"photos in folders within it are named by {inner}"
        others = sorted(path.name for path in paths if not has_image_ending(path))
        paths = [path for path in paths if has_image_ending(path)]
        if others:
            more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
            reporter.message(f"{pattern}: {others[0]}{more} left out, by name no image that can be read")
    if not paths:
        raise UserError(f"--images {pattern}: names no photo; {advice}")
    return paths


def _literal_brackets(pattern: str) -> str:
    """Return a pattern whose brackets are literal where they belong to the name of an existing file or folder.

    A folder stands for all files in it.
    """
    path = Path(pattern)
    if os.path.isdir(path):
        return str(Path(glob.escape(str(path))) / "*")
    existing = next(one for one in (path, *path.parents) if os.path.exists(one))
    return str(Path(str(existing).replace("[", "[[]")) / path.relative_to(existing))


class CutoutFolder:
    """A folder that cut-outs are written to, and its record of them, `.cutouts.jsonl`.

    A photo is cut out already if the record names its content and the prediction. A file that the record does not
    name, such as a photo of the user, is never replaced.
    """

    def __init__(self, folder: Path, config: PredictionConfig, *, maps: bool, hard: bool = False) -> None:
        """Initialize with the folder and how photos are predicted.

        Args:
            folder: NAME.png (transparent) and NAME_mask.png (its opacity, 0 to 255) are written there.
            config: the prediction.
            maps: also write NAME_map.png, the probability as 0 to 255, at the size of the map.
            hard: opacities are 0 and 255 only, and colours those of the photo; by default edges are soft, and their
                colours are freed from the ground's.
        """
        self._folder, self._threshold, self._maps, self._hard = folder, config.effective_threshold, maps, hard
        self._fingerprint = json.dumps({**config.fingerprint(), "hard": hard})
        self._record = OutputRecord(folder / ".cutouts.jsonl")

    def pending(self, photos: Sequence[Sample]) -> list[Sample]:
        """Return the photos that still have to be cut out, so that an interrupted run resumes.

        Raises:
            UserError: two files that are written have the same name, or a file of others would be replaced.
        """
        self._check_distinct(photos)
        pending = []
        for photo in photos:
            files = self._files_of(photo)
            if self._is_cut_out(photo):
                for file in files:
                    delete_partial(file)
            else:
                self._check_replaceable(photo, files)
                pending.append(photo)
        self._record.compact()
        return pending

    def cut_out(
        self, ensemble: WeightedEnsemble, photos: Sequence[Sample], advance: ProgressCallback
    ) -> Iterator[Cutout]:
        """Cut cars out of photos.

        Args:
            ensemble: predicts the probability maps.
            photos: photos of `pending`: JPEG, PNG or any other image that Pillow reads, of any size.
            advance: called for each photo, with a note on the slowest step.

        Yields:
            The files of each photo, in order.

        Raises:
            UserError: a file is not a complete image.
        """
        timer = PipelineTimer()
        for cutout in predict_stream(ensemble, photos, self._write, timer=timer, keep_aspect=True):
            advance(1, timer.bottleneck())
            yield cutout
        self._record.compact()

    def _write(self, prediction: Prediction) -> Cutout:
        photo, size = prediction.sample, prediction.photo_size
        source = self._source(photo)
        mask = rle.edges_to_mask(prediction.edges(self._threshold), size)
        cutout, mask_file, *map_files = self._files_of(photo)
        pixels = photo.read_image()  # read again: the queue of large photos would not fit in memory
        if self._hard:
            alpha = mask.view(np.uint8) * np.uint8(255)
            rgba = np.dstack([pixels, alpha])
        else:
            alpha = alpha_channel(prediction.probability(), self._threshold)
            rgba = cut_out(pixels, alpha)
        self._record.write(cutout, _encode_png(cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)), source)
        self._record.write(mask_file, _encode_png(alpha), source)
        for file in map_files:
            self._record.write(file, encode_map(prediction.maps[0]), source)
        return Cutout(photo.path, size, float(mask.mean()), cutout, mask_file)

    def _is_cut_out(self, photo: Sample) -> bool:
        source = self._source(photo)
        return all(self._record.is_current(file, source) for file in self._files_of(photo))

    def _check_replaceable(self, photo: Sample, files: Sequence[Path]) -> None:
        """Raise UserError if one of a photo's files exists, and this class has not written it."""
        for file in files:
            if not self._record.may_replace(file):
                raise UserError(
                    f"{photo.path}: would overwrite {file}, which is no cut-out of this command; move that file,"
                    " or choose another folder with --cutouts"
                )

    def _source(self, photo: Sample) -> str:
        """Return a digest of everything that a photo's files are made from."""
        return sha256_of_text(f"{self._fingerprint} {content_digest([photo.path])}")

    def _files_of(self, photo: Sample) -> list[Path]:
        """Return the files of a photo's cut-out and mask, and of its map if it is written."""
        endings = ["", "_mask", "_map"] if self._maps else ["", "_mask"]
        return [self._folder / f"{photo.path.stem}{ending}.png" for ending in endings]

    def _check_distinct(self, photos: Sequence[Sample]) -> None:
        """Raise UserError if two files that are written have the same name, or a photo would be overwritten.

        Names that differ in case or in Unicode's composition only are one name on some file systems.
        """
        photo_files = {os.path.realpath(photo.path) for photo in photos}
        by_name: dict[str, Path] = {}
        for photo in photos:
            for file in self._files_of(photo):
                name = unicodedata.normalize("NFC", file.name).casefold()
                other = by_name.setdefault(name, photo.path)
                if other != photo.path:
                    raise UserError(
                        f"{other} and {photo.path}: would both become {file.name}; rename one, or give each a"
                        " folder of its own with --cutouts"
                    )
                if os.path.realpath(file) in photo_files:
                    raise UserError(
                        f"{photo.path}: would overwrite the photo {file}; choose another folder with --cutouts"
                    )


def _encode_png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
