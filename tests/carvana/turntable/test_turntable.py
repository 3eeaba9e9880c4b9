"""The turntable renders small data sets in the competition's form, the same ones each time."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from PIL import Image
from scipy import ndimage

from carvana.competition import rle
from carvana.errors import InputError
from carvana.turntable import render_folder
from carvana.turntable.camera import turn_of
from carvana.turntable.dimensions import BODY_TYPES, sample_dimensions
from carvana.turntable.renderer import Session, open_session, take_photo

SIZE = (64, 96)
CARS, TEST_CARS = 6, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("turntable") / "not" / "there" / "yet"
    render_folder(root, cars=CARS, test_cars=TEST_CARS, size=SIZE, seed=5)
    return root


@pytest.fixture(scope="module")
def red_hatchback() -> Session:
    number = 5 + 12 * 3  # the sixth paint is red
    session = open_session(number, (160, 240), np.random.default_rng(1))
    assert session.car.materials.albedo[0].argmax() == 0
    return session


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def photo_of(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def masks_of(root: Path, table: str) -> dict[str, np.ndarray]:
    return {row["img"]: rle.decode(row["rle_mask"], SIZE) for row in rows_of(root / table)}


def shot(session: Session, angle: int = 4) -> tuple[np.ndarray, np.ndarray]:
    photo, mask = take_photo(session, angle, 16, np.random.default_rng(0))
    return photo.astype(int), mask


def test_same_seed_gives_same_bytes_on_one_core_and_on_many(tmp_path: Path) -> None:
    render_folder(tmp_path / "many", cars=1, test_cars=1, size=SIZE, seed=3)
    with parallel_config("sequential"):
        render_folder(tmp_path / "one", cars=1, test_cars=1, size=SIZE, seed=3)
    assert len(bytes_of(tmp_path / "one")) == 16 + 16 + 16 + 4
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "many")


def test_another_seed_gives_other_cars(tmp_path: Path, folder: Path) -> None:
    render_folder(tmp_path / "other", cars=1, test_cars=0, size=SIZE, seed=6)
    other = bytes_of(tmp_path / "other")
    assert not {name for name in other if name.startswith("train/")} & set(bytes_of(folder))


def test_a_car_stays_the_same_however_many_are_asked_for(tmp_path: Path, folder: Path) -> None:
    render_folder(tmp_path / "fewer", cars=1, test_cars=1, size=SIZE, seed=5)
    whole, fewer = bytes_of(folder), bytes_of(tmp_path / "fewer")
    pictures = [name for name in fewer if not name.endswith(".csv")]
    assert len(pictures) == 16 * 3
    assert all(whole[name] == fewer[name] for name in pictures)


def test_folder_has_the_competitions_form(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *("train", "train_masks", "train_masks.csv", "metadata.csv"),
        *("test", "test_masks.csv", "sample_submission.csv"),
    }
    photos = sorted(path.name for path in (folder / "train").iterdir())
    tests = sorted(path.name for path in (folder / "test").iterdir())
    assert (len(photos), len(tests)) == (16 * CARS, 16 * TEST_CARS)
    assert [name[12:] for name in photos[:16]] == [f"_{angle:02d}.jpg" for angle in range(1, 17)]
    assert {int(name[:12], 16) >= 0 for name in (*photos, *tests)} == {True}
    assert photo_of(folder / "train" / photos[0]).shape == (*SIZE, 3)
    masks = sorted(path.name for path in (folder / "train_masks").iterdir())
    assert masks == [name.replace(".jpg", "_mask.gif") for name in photos]
    assert [row["img"] for row in rows_of(folder / "train_masks.csv")] == photos
    assert rows_of(folder / "sample_submission.csv") == [{"img": name, "rle_mask": "1 1"} for name in tests]
    assert [row["img"] for row in rows_of(folder / "test_masks.csv")] == tests
    cars = rows_of(folder / "metadata.csv")
    assert list(cars[0]) == ["id", "year", "make", "model", "trim1", "trim2"]
    assert {row["id"] for row in cars} == {name[:12] for name in (*photos, *tests)}


def test_masks_in_gifs_are_those_in_the_table(folder: Path) -> None:
    for name, mask in masks_of(folder, "train_masks.csv").items():
        gif = Image.open(folder / "train_masks" / name.replace(".jpg", "_mask.gif"))
        assert gif.mode == "P"
        assert set(np.unique(gif)) == {0, 1}
        assert (np.array(gif) == mask).all()


def test_usage_goes_by_car_and_has_both_kinds(folder: Path) -> None:
    usages = {(row["img"][:12], row["Usage"]) for row in rows_of(folder / "test_masks.csv")}
    assert len(usages) == TEST_CARS
    assert sorted(usage for _, usage in usages) == ["Private", "Private", "Public"]


def test_no_two_cars_are_alike(folder: Path) -> None:
    side_views = [path.read_bytes() for path in folder.glob("t*/*_05.jpg")]
    assert len(set(side_views)) == CARS + TEST_CARS
    shapes = [sample_dimensions(number, np.random.default_rng(number)) for number in range(14)]
    assert {shape.body_type for shape in shapes} == set(BODY_TYPES)
    for measure in ("length", "width", "height", "wheel_radius", "ground_clearance"):
        assert len({getattr(shape, measure) for shape in shapes}) == len(shapes)


def test_masks_are_one_piece_without_holes_and_of_a_cars_size(folder: Path) -> None:
    masks = masks_of(folder, "train_masks.csv") | masks_of(folder, "test_masks.csv")
    for name, mask in masks.items():
        assert 0.08 < mask.mean() < 0.45, name
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        assert np.bincount(labels[mask]).max() > 0.99 * mask.sum(), name
        # Windows count as car. A gap under a spoiler or a roof rail is no window.
        holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
        assert np.bincount(holes.ravel())[1:].max(initial=0) < 0.01 * mask.sum(), name


def test_car_turns_from_its_face_over_its_left_side(folder: Path) -> None:
    ahead = turn_of(1, 16) @ [1, 0, 0], turn_of(5, 16) @ [1, 0, 0]
    assert np.allclose(ahead, [[0, -1, 0], [-1, 0, 0]])  # toward the camera, then to the photo's left
    masks = masks_of(folder, "train_masks.csv")
    for car in {name[:12] for name in masks}:
        widths = [masks[f"{car}_{angle:02d}.jpg"].any(axis=0).sum() for angle in range(1, 17)]
        assert widths[4] > 1.5 * widths[0]
        assert widths[12] > 1.5 * widths[8]
        assert len({masks[f"{car}_{angle:02d}.jpg"].sum() for angle in range(1, 17)}) > 8


def test_one_sees_the_studio_through_the_windows(red_hatchback: Session) -> None:
    bright, mask = shot(replace(red_hatchback, backdrop=np.full_like(red_hatchback.backdrop, 0.9)))
    dark, _ = shot(replace(red_hatchback, backdrop=np.full_like(red_hatchback.backdrop, 0.1)))
    glass = (np.abs(bright - dark).min(axis=2) > 20)[ndimage.binary_erosion(mask, iterations=2)]
    assert 0.02 < glass.mean() < 0.3


def test_shadow_darkens_the_floor_and_is_not_car(red_hatchback: Session) -> None:
    photo, mask = shot(red_hatchback)
    without, same_mask = shot(replace(red_hatchback, shadow=np.ones_like(red_hatchback.shadow)))
    shaded = (without - photo).min(axis=2) > 15
    assert (mask == same_mask).all()
    assert (shaded & ~mask).mean() > 0.02


def test_floor_mirrors_the_car_and_the_mirror_image_is_not_car(red_hatchback: Session) -> None:
    matt, mask = shot(replace(red_hatchback, studio=replace(red_hatchback.studio, gloss=0.0)))
    glossy, same_mask = shot(replace(red_hatchback, studio=replace(red_hatchback.studio, gloss=0.3)))
    redder = (glossy[..., 0] - glossy[..., 1]) - (matt[..., 0] - matt[..., 1]) > 10
    assert (mask == same_mask).all()
    assert (redder & ~mask).mean() > 0.02


def test_colour_alone_does_not_tell_car_from_studio(folder: Path) -> None:
    def colours(photo: np.ndarray) -> np.ndarray:
        return (photo >> 4).astype(int) @ [256, 16, 1]

    car, all_pixels = np.zeros(4096), np.full(4096, 1e-6)
    for name, mask in masks_of(folder, "train_masks.csv").items():
        seen = colours(photo_of(folder / "train" / name))
        car += np.bincount(seen[mask], minlength=4096)
        all_pixels += np.bincount(seen.ravel(), minlength=4096)
    tests = masks_of(folder, "test_masks.csv")
    best = 0.0
    for threshold in (0.2, 0.3, 0.4, 0.5):
        scores = []
        for name, mask in tests.items():
            guess = (car / all_pixels)[colours(photo_of(folder / "test" / name))] > threshold
            scores.append(2 * (guess & mask).sum() / (guess.sum() + mask.sum()))
        best = max(best, float(np.mean(scores)))
    assert 0.3 < best < 0.9


def test_other_sizes_work() -> None:
    photo, mask = shot(open_session(2, (75, 61), np.random.default_rng(0)))
    assert (photo.shape, mask.shape) == ((75, 61, 3), (75, 61))
    assert not mask[:, [0, -1]].any()  # the car fits in


def test_progress_is_told_car_by_car(tmp_path: Path) -> None:
    finished = []
    render_folder(tmp_path, cars=1, test_cars=1, size=(16, 24), on_car=lambda: finished.append(1))
    assert len(finished) == 2


def test_asks_for_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds something already; give a folder that is empty"):
        render_folder(tmp_path, cars=1, test_cars=1, size=SIZE)
    assert bytes_of(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")
def test_nothing_half_written_stays(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_folder(tmp_path / "data", cars=2, test_cars=0, size=(16, 24), on_car=stop)
    assert list(tmp_path.iterdir()) == []
