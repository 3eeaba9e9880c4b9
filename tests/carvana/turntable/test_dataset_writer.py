"""Rendered data sets: their form, their reproducibility, and cars that are worth segmenting."""

import csv
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from PIL import Image
from scipy import ndimage

from carvana.competition import rle
from carvana.errors import UserError
from carvana.turntable import render_dataset

SIZE = (64, 96)
CARS, TEST_CARS = 6, 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("turntable") / "parent" / "dataset"
    render_dataset(root, cars=CARS, test_cars=TEST_CARS, size=SIZE, seed=5)
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def photo_of(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def masks_of(root: Path, table: str) -> dict[str, np.ndarray]:
    return {row["img"]: rle.decode(row["rle_mask"], SIZE) for row in rows_of(root / table)}


def test_same_seed_gives_same_bytes_on_one_core_as_on_many(tmp_path: Path) -> None:
    render_dataset(tmp_path / "many", cars=1, test_cars=1, size=SIZE, seed=3)
    with parallel_config("sequential"):
        render_dataset(tmp_path / "one", cars=1, test_cars=1, size=SIZE, seed=3)
    assert len(bytes_of(tmp_path / "one")) == 16 + 16 + 16 + 4
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "many")


def test_another_seed_gives_other_cars(tmp_path: Path, dataset: Path) -> None:
    render_dataset(tmp_path / "other", cars=1, test_cars=0, size=SIZE, seed=6)
    other = bytes_of(tmp_path / "other")
    assert not {name for name in other if name.startswith("train/")} & set(bytes_of(dataset))


def test_a_car_does_not_depend_on_the_number_of_cars(tmp_path: Path, dataset: Path) -> None:
    render_dataset(tmp_path / "fewer", cars=1, test_cars=1, size=SIZE, seed=5)
    whole, fewer = bytes_of(dataset), bytes_of(tmp_path / "fewer")
    pictures = [name for name in fewer if not name.endswith(".csv")]
    assert len(pictures) == 16 * 3
    assert all(whole[name] == fewer[name] for name in pictures)


def test_dataset_has_the_competitions_form(dataset: Path) -> None:
    assert {path.name for path in dataset.iterdir()} == {
        *("train", "train_masks", "train_masks.csv", "metadata.csv"),
        *("test", "test_masks.csv", "sample_submission.csv"),
    }
    photos = sorted(path.name for path in (dataset / "train").iterdir())
    tests = sorted(path.name for path in (dataset / "test").iterdir())
    assert (len(photos), len(tests)) == (16 * CARS, 16 * TEST_CARS)
    assert [name[12:] for name in photos[:16]] == [f"_{angle:02d}.jpg" for angle in range(1, 17)]
    assert {int(name[:12], 16) >= 0 for name in (*photos, *tests)} == {True}
    assert photo_of(dataset / "train" / photos[0]).shape == (*SIZE, 3)
    masks = sorted(path.name for path in (dataset / "train_masks").iterdir())
    assert masks == [name.replace(".jpg", "_mask.gif") for name in photos]
    assert [row["img"] for row in rows_of(dataset / "train_masks.csv")] == photos
    assert rows_of(dataset / "sample_submission.csv") == [{"img": name, "rle_mask": "1 1"} for name in tests]
    assert [row["img"] for row in rows_of(dataset / "test_masks.csv")] == tests
    cars = rows_of(dataset / "metadata.csv")
    assert list(cars[0]) == ["id", "year", "make", "model", "trim1", "trim2"]
    assert {row["id"] for row in cars} == {name[:12] for name in (*photos, *tests)}


def test_gif_masks_equal_those_in_the_table(dataset: Path) -> None:
    for name, mask in masks_of(dataset, "train_masks.csv").items():
        gif = Image.open(dataset / "train_masks" / name.replace(".jpg", "_mask.gif"))
        assert gif.mode == "P"
        assert set(np.unique(gif)) == {0, 1}
        assert (np.array(gif) == mask).all()


def test_all_photos_of_a_test_car_have_the_same_usage(dataset: Path) -> None:
    usages = {(row["img"][:12], row["Usage"]) for row in rows_of(dataset / "test_masks.csv")}
    assert len(usages) == TEST_CARS
    assert sorted(usage for _, usage in usages) == ["Private", "Private", "Public"]


def test_all_cars_look_different(dataset: Path) -> None:
    side_views = [path.read_bytes() for path in dataset.glob("t*/*_05.jpg")]
    assert len(set(side_views)) == CARS + TEST_CARS


def test_masks_have_one_component_no_holes_and_a_cars_size(dataset: Path) -> None:
    masks = masks_of(dataset, "train_masks.csv") | masks_of(dataset, "test_masks.csv")
    for name, mask in masks.items():
        assert 0.08 < mask.mean() < 0.45, name
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        assert np.bincount(labels[mask]).max() > 0.99 * mask.sum(), name
        # Windows are part of the mask; gaps under a spoiler or a roof rail are small holes.
        holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
        assert np.bincount(holes.ravel())[1:].max(initial=0) < 0.01 * mask.sum(), name


def test_cars_are_wider_from_the_side_and_differ_from_angle_to_angle(dataset: Path) -> None:
    masks = masks_of(dataset, "train_masks.csv")
    for car in {name[:12] for name in masks}:
        widths = [masks[f"{car}_{angle:02d}.jpg"].any(axis=0).sum() for angle in range(1, 17)]
        assert widths[4] > 1.5 * widths[0]
        assert widths[12] > 1.5 * widths[8]
        assert len({masks[f"{car}_{angle:02d}.jpg"].sum() for angle in range(1, 17)}) > 8


def test_colour_alone_does_not_separate_car_from_studio(dataset: Path) -> None:
    def colour_bins(photo: np.ndarray) -> np.ndarray:
        return (photo >> 4).astype(int) @ [256, 16, 1]

    car, all_pixels = np.zeros(4096), np.full(4096, 1e-6)
    for name, mask in masks_of(dataset, "train_masks.csv").items():
        bins = colour_bins(photo_of(dataset / "train" / name))
        car += np.bincount(bins[mask], minlength=4096)
        all_pixels += np.bincount(bins.ravel(), minlength=4096)
    tests = masks_of(dataset, "test_masks.csv")
    best = 0.0
    for threshold in (0.2, 0.3, 0.4, 0.5):
        scores = []
        for name, mask in tests.items():
            predicted = (car / all_pixels)[colour_bins(photo_of(dataset / "test" / name))] > threshold
            scores.append(2 * (predicted & mask).sum() / (predicted.sum() + mask.sum()))
        best = max(best, float(np.mean(scores)))
    assert 0.3 < best < 0.9


def test_progress_is_reported_after_each_car(tmp_path: Path) -> None:
    finished = []
    render_dataset(tmp_path, cars=1, test_cars=1, size=(16, 24), on_car=lambda: finished.append(1))
    assert len(finished) == 2


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not an empty folder; give one that is empty or does not exist yet"):
        render_dataset(tmp_path, cars=1, test_cars=1, size=SIZE)
    assert bytes_of(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")
def test_an_interrupted_dataset_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_dataset(tmp_path / "data", cars=2, test_cars=0, size=(16, 24), on_car=stop)
    assert list(tmp_path.iterdir()) == []
