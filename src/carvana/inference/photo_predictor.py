"""Prediction of photos from Python: what `carvana.load` returns."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from PIL import Image

from carvana.competition import rle
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.inference.config import PredictionConfig
from carvana.inference.foreground import alpha_channel, cut_out
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import WeightedEnsemble

R = TypeVar("R")

Photo = str | PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray
"""A photo: the path or the content of an image file, a Pillow image, or an array.

An array is (height, width, 3) RGB, (height, width, 4) RGBA or (height, width) grey, uint8. Transparent pixels are
blended with white. The EXIF orientation of a file or a Pillow image is applied. A photo has at most 200 million
pixels.
"""

_PHOTO_TYPES = (str, PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)


class PhotoPredictor:
    """Networks that find the car in photos of any size.

    Each method takes a photo, or an iterable of photos, for which it returns an iterator. Photos of an iterator are
    decoded, predicted and finished at the same time, so that many take less time than one by one; memory does not
    grow with their number.
    """

    def __init__(self, ensemble: WeightedEnsemble, threshold: float) -> None:
        """Initialize the predictor; `carvana.load` does it.

        Args:
            ensemble: predicts the probability maps.
            threshold: pixels whose probability is above it are car.
        """
        self._ensemble, self._threshold = ensemble, threshold

    @classmethod
    def from_config(cls, config: PredictionConfig) -> "PhotoPredictor":
        """Load the networks of a prediction's configuration."""
        return cls(WeightedEnsemble.load(config), config.effective_threshold)

    @overload
    def probability(self, photo: Photo) -> np.ndarray: ...  # type: ignore[overload-overlap]  # a text is iterable, too
    @overload
    def probability(self, photo: Iterable[Photo]) -> Iterator[np.ndarray]: ...
    def probability(self, photo: Photo | Iterable[Photo]) -> np.ndarray | Iterator[np.ndarray]:
        """Return each pixel's probability of being car.

        Args:
            photo: a photo, or an iterable of photos.

        Returns:
            (height, width) of the photo, float32, 0..1.

        Raises:
            UserError: a photo is not a complete image, or is too large.

        Example:
            >>> import carvana
            >>> predictor = carvana.load("fast")
            >>> predictor.probability("docs/car.jpg").shape
            (640, 960)
        """
        return self._predict(photo, Prediction.probability)

    @overload
    def mask(self, photo: Photo) -> np.ndarray: ...  # type: ignore[overload-overlap]  # a text is iterable, too
    @overload
    def mask(self, photo: Iterable[Photo]) -> Iterator[np.ndarray]: ...
    def mask(self, photo: Photo | Iterable[Photo]) -> np.ndarray | Iterator[np.ndarray]:
        """Return which pixels are car: the same mask as in a submission.

        It is computed as for a submission, by bilinear interpolation of the networks' map, also for a photo that is
        smaller than the map; the probability of such a photo is the map's area means, and can be on the other side
        of the threshold in a few pixels along the contour.

        Args:
            photo: a photo, or an iterable of photos.

        Returns:
            (height, width) of the photo, bool.

        Raises:
            UserError: as `probability`.

        Example:
            >>> import carvana
            >>> predictor = carvana.load("fast")
            >>> masks = predictor.mask(["docs/car.jpg"] * 2)
            >>> [mask.dtype.name for mask in masks]
            ['bool', 'bool']
        """
        return self._predict(photo, self._mask)

    @overload
    def cutout(self, photo: Photo) -> Image.Image: ...  # type: ignore[overload-overlap]  # a text is iterable, too
    @overload
    def cutout(self, photo: Iterable[Photo]) -> Iterator[Image.Image]: ...
    def cutout(self, photo: Photo | Iterable[Photo]) -> Image.Image | Iterator[Image.Image]:
        """Cut the car out of a photo, with a soft edge that has the colours of the car alone.

        Args:
            photo: a photo, or an iterable of photos.

        Returns:
            A Pillow image of the mode RGBA, of the photo's size.

        Raises:
            UserError: as `probability`.

        Example:
            >>> import carvana
            >>> predictor = carvana.load("fast")
            >>> cutout = predictor.cutout("docs/car.jpg")
            >>> cutout.mode, cutout.size
            ('RGBA', (960, 640))
        """
        return self._predict(photo, self._cutout)

    def _predict(self, photo: Photo | Iterable[Photo], finish: Callable[[Prediction], R]) -> R | Iterator[R]:
        if isinstance(photo, _PHOTO_TYPES) or _is_open_file(photo) or not np.iterable(photo):
            (result,) = self._stream([photo], finish)
            return result
        return self._stream(photo, finish)

    def _stream(self, photos: Iterable[object], finish: Callable[[Prediction], R]) -> Iterator[R]:
        samples = (_sample(photo, number) for number, photo in enumerate(photos, start=1))
        return predict_stream(self._ensemble, samples, finish, keep_aspect=True)

    def _mask(self, prediction: Prediction) -> np.ndarray:
        return rle.edges_to_mask(prediction.edges(self._threshold), prediction.photo_size)

    def _cutout(self, prediction: Prediction) -> Image.Image:
        alpha = alpha_channel(prediction.probability(), self._threshold)
        return Image.fromarray(cut_out(prediction.sample.read_image(), alpha))


@dataclass(frozen=True)
class _Content(Sample):
    """A photo whose file's content is in memory; `path` names it in errors."""

    data: bytes = field(kw_only=True)

    def read_image(self) -> np.ndarray:
        return images.read_image(self.path, self.data)

    def read_image_sizes(self, sizes_of: images.SizesOf) -> tuple[list[np.ndarray], tuple[int, int]]:
        return images.read_image_sizes(self.path, sizes_of, self.data)


@dataclass(frozen=True, eq=False)
class _Pixels(Sample):
    """A photo whose pixels (height, width, 3), uint8, RGB, are in memory; `path` names it in errors."""

    pixels: np.ndarray = field(kw_only=True)

    def read_image(self) -> np.ndarray:
        return self.pixels

    def read_image_sizes(self, sizes_of: images.SizesOf) -> tuple[list[np.ndarray], tuple[int, int]]:
        return images.resize_all(self.pixels, sizes_of)


def _sample(photo: object, number: int) -> Sample:
    """Return the sample of a photo; `number` names it in errors if it has no path."""
    if isinstance(photo, str | PathLike):
        return Sample(Path(photo))
    name = Path(f"photo {number}")
    if isinstance(photo, bytes | bytearray | memoryview):
        return _Content(name, data=bytes(photo))
    if isinstance(photo, np.ndarray):
        photo = _from_array(name, photo)
    elif isinstance(photo, Image.Image):
        images.check_pixels(name, photo.height, photo.width)
    elif _is_open_file(photo):
        raise UserError(f"{name}: is an open file; give its path, or its content as bytes")
    else:
        raise UserError(
            f"{name}: is of type {type(photo).__name__}; a photo is a path, the content of a file as bytes, a Pillow"
            " image, or an array"
        )
    try:
        return _Pixels(name, pixels=images.rgb_pixels(name, photo))
    except UserError:
        raise
    except Exception as error:  # Pillow may read a file only now, and its errors are of almost every type
        raise UserError(f"{name}: not a whole image ({error})") from None


def _is_open_file(photo: object) -> bool:
    """Return True for a file object, which would otherwise be an iterable of its lines."""
    return callable(getattr(photo, "read", None))


def _from_array(name: Path, array: np.ndarray) -> Image.Image:
    is_photo = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not array.size or not is_photo:
        raise UserError(
            f"{name}: is an array of {array.dtype} and shape {array.shape}; expected uint8 and (height, width),"
            " (height, width, 3) or (height, width, 4)"
        )
    images.check_pixels(name, *array.shape[:2])
    return Image.fromarray(array)
