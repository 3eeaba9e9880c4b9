"""Photos predicted from Python: the same result from a path, bytes, an image and an array, of any size."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.prediction_helpers import Red

from carvana.errors import UserError
from carvana.inference.photo_predictor import PhotoPredictor
from carvana.inference.predictors import WeightedEnsemble


@pytest.fixture
def predictor() -> PhotoPredictor:
    """A predictor whose probability is the photo's red channel."""
    return PhotoPredictor(WeightedEnsemble((Red(),)), 0.5)


def _pixels(size: tuple[int, int]) -> np.ndarray:
    """A blue photo whose left quarter is red."""
    photo = np.zeros((*size, 3), np.uint8)
    photo[..., 2] = 200
    photo[:, : size[1] // 4] = (255, 0, 100)
    return photo


@pytest.mark.parametrize("size", [(20, 30), (90, 60), (7, 5), (200, 301)])
def test_results_have_the_size_of_the_photo(predictor: PhotoPredictor, size: tuple[int, int]) -> None:
    photo = _pixels(size)
    probability, mask, cutout = (
        method(photo) for method in (predictor.probability, predictor.mask, predictor.cutout)
    )
    assert (probability.shape, probability.dtype) == (size, np.float32)
    assert (mask.shape, mask.dtype) == (size, bool)
    assert (cutout.mode, cutout.size) == ("RGBA", size[::-1])
    assert probability[0, 0] > 0.8
    assert mask.mean() == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_path_its_content_an_image_and_an_array_give_the_same(
    predictor: PhotoPredictor, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"car.{ending}"
    Image.fromarray(_pixels((120, 180))).save(path)
    expected = predictor.probability(path)
    assert np.array_equal(predictor.probability(str(path)), expected)
    for type_ in (bytes, bytearray, memoryview):
        assert np.array_equal(predictor.probability(type_(path.read_bytes())), expected)
    if ending == "png":  # a JPEG file is decoded at a smaller scale, an array is not
        assert np.array_equal(predictor.probability(Image.open(path)), expected)
        assert np.array_equal(predictor.probability(np.array(Image.open(path))), expected)


def test_many_photos_are_an_iterator_in_their_order(predictor: PhotoPredictor) -> None:
    drawn = []

    def photos() -> object:
        for number in range(400):
            drawn.append(number)
            yield np.full((20, 30 + number % 3, 3), number % 40, np.uint8)

    maps = predictor.probability(photos())
    assert next(maps).max() == 0
    assert len(drawn) < 200
    rest = list(maps)
    assert [round(float(one.mean()) * 255) for one in rest] == [number % 40 for number in range(1, 400)]
    assert rest[0].shape == (20, 31)
    assert list(predictor.mask([])) == []


def test_orientation_and_transparency_are_those_of_the_image(predictor: PhotoPredictor) -> None:
    image = Image.fromarray(_pixels((20, 32)))
    exif = image.getexif()
    exif[0x0112] = 6  # rotated by 90 degrees
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    assert predictor.mask(buffer.getvalue()).shape == (32, 20)
    transparent = np.zeros((20, 32, 4), np.uint8)
    assert predictor.probability(transparent).min() == 1  # white
    assert predictor.probability(np.full((20, 32), 51, np.uint8)).max() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        ("none.jpg", r"none\.jpg: cannot be read"),
        ("a\0b.jpg", r"'a\\x00b\.jpg': cannot be the name of a file"),
        (b"", "photo 1: not an image that Pillow reads, or a damaged one$"),
        (b"# Read me", "photo 1: not an image that Pillow reads, or a damaged one$"),
        (b"\xff\xd8\xff\xe0", "photo 1: not a whole JPEG"),
        (np.zeros((4, 5, 3)), r"photo 1: is an array of float64 and shape \(4, 5, 3\); expected uint8"),
        (
            np.zeros((4, 5, 2), np.uint8),
            r"; expected uint8 and .*, \(height, width, 3\) or \(height, width, 4\)$",
        ),
        (np.zeros((0, 5, 3), np.uint8), "photo 1: is an array of uint8"),
        (np.zeros(5, np.uint8), "photo 1: is an array of uint8"),
        (None, "photo 1: is of type NoneType; a photo is a path, the content of a file"),
        (3, "photo 1: is of type int; a photo is a path"),
        ([3], "photo 1: is of type int; a photo is a path"),
        (io.BytesIO(b"\n"), "photo 1: is an open file; give its path, or its content as bytes$"),
        ([io.BytesIO(b"\n")], "photo 1: is an open file"),
    ],
)
def test_what_is_no_photo_is_refused(predictor: PhotoPredictor, photo: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(predictor.mask(photo))


@pytest.mark.parametrize("size", [(20_000, 10_001), (1, 65_536)])
def test_an_array_or_an_image_of_too_many_pixels_is_refused(
    predictor: PhotoPredictor, size: tuple[int, int]
) -> None:
    array = np.broadcast_to(np.uint8(0), (*size, 3))
    message = rf"photo 1: is {size[1]}x{size[0]}; an image has at most 200 million pixels"
    for photo in (array, Image.new("1", size[::-1])):
        with pytest.raises(UserError, match=message):
            predictor.mask(photo)


def test_a_closed_image_is_refused(predictor: PhotoPredictor, tmp_path: Path) -> None:
    path = tmp_path / "car.png"
    Image.fromarray(_pixels((4, 5))).save(path)
    with Image.open(path) as photo:
        pass
    with pytest.raises(UserError, match="photo 1: not a whole image"):
        predictor.mask(photo)


def test_a_damaged_image_is_refused(predictor: PhotoPredictor, tmp_path: Path) -> None:
    path = tmp_path / "car.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    for photo in (path, path.read_bytes(), Image.open(path)):
        with pytest.raises(UserError, match="not a whole image"):
            predictor.mask(photo)
