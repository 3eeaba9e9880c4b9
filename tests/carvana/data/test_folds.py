"""Folds by car."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.data.dataset import train_samples
from carvana.data.folds import assign_folds, read_folds, write_folds
from carvana.data.split import Split, fold_name, parse_fold, parse_single_fold
from carvana.errors import UserError

TRACKED = Path(__file__).parents[3] / "folds" / "carvana-5.csv"

areas = st.lists(st.floats(0, 1e6), min_size=2, max_size=60).map(
    lambda pixels: pd.Series(pixels, index=[f"{number:012x}" for number in range(len(pixels))])
)


@given(areas, st.data())
def test_every_car_is_in_one_fold_and_folds_have_equal_size(cars: pd.Series, data: st.DataObject) -> None:
    n_folds = data.draw(st.integers(2, len(cars)))
    folds = assign_folds(cars, n_folds, seed=data.draw(st.integers(0, 9)))
    assert folds.index.tolist() == sorted(cars.index)
    counts = folds.value_counts()
    assert set(counts.index) == set(range(n_folds))
    assert counts.max() - counts.min() <= 1


def test_folds_have_similar_mask_areas() -> None:
    cars = pd.Series(range(100), index=[f"{number:012x}" for number in range(100)])
    means = cars.groupby(assign_folds(cars, 5)).mean()
    assert means.max() - means.min() < 5


def test_seed_determines_the_folds() -> None:
    cars = pd.Series(range(40), index=[f"{number:012x}" for number in range(40)])
    assert assign_folds(cars, 5, seed=1).equals(assign_folds(cars[::-1], 5, seed=1))
    assert not assign_folds(cars, 5, seed=1).equals(assign_folds(cars, 5, seed=2))


def test_more_folds_than_cars_are_refused() -> None:
    with pytest.raises(UserError, match="choose from 2 to 3 folds"):
        assign_folds(pd.Series([1.0, 2, 3], index=list("abc")), 4)


def test_fold_table_survives_writing(tmp_path: Path) -> None:
    folds = assign_folds(pd.Series([1.0, 2, 3], index=["000000000001", "000000000002", "00000000000a"]), 2)
    write_folds(folds, tmp_path / "folds.csv")
    assert read_folds(tmp_path / "folds.csv").to_dict() == folds.to_dict()
    assert (tmp_path / "folds.csv").read_text().startswith("car,fold\n000000000001,")


def test_car_in_two_folds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("car,fold\nabc,0\nabc,1\n")
    with pytest.raises(UserError, match=r"folds\.csv: names the car abc twice"):
        read_folds(tmp_path / "folds.csv")


def test_table_that_lacks_a_car_is_refused(rendered: Path, tmp_path: Path) -> None:
    photos = train_samples(rendered)
    (tmp_path / "folds.csv").write_text(f"car,fold\n{photos[0].car},0\n")
    with pytest.raises(UserError, match="lacks 3 cars of the data"):
        Split.read(photos, tmp_path / "folds.csv")


def test_the_16_views_of_a_car_are_on_one_side_of_a_split(rendered: Path, tmp_path: Path) -> None:
    photos = train_samples(rendered)
    cars = sorted({photo.car for photo in photos})
    write_folds(pd.Series([0, 0, 1, 2, 7], index=[*cars, "ffffffffffff"]), tmp_path / "folds.csv")
    split = Split.read(photos, tmp_path / "folds.csv")
    assert (split.numbers, split.absent) == ([0, 1, 2], 1)
    train, val = split.train_val(0)
    assert {photo.car for photo in val} == set(cars[:2])
    assert {photo.car for photo in train} == set(cars[2:])
    assert len(val) == 32
    with pytest.raises(UserError, match="fold 7: not in the fold table"):
        split.train_val(7)


def test_tracked_table_contains_all_318_cars() -> None:
    table = read_folds(TRACKED)
    assert len(table) == 318
    assert sorted(table.value_counts()) == [63, 63, 64, 64, 64]


@pytest.mark.slow
@pytest.mark.real
def test_tracked_table_is_assigned_from_the_mask_areas(real_data: Path) -> None:
    areas = pd.read_csv(real_data / "car_areas.csv", index_col="car")["mean_mask_pixels"]
    assert assign_folds(areas, 5).to_dict() == read_folds(TRACKED).to_dict()


@pytest.mark.parametrize(
    "fold", ["", "²", "٣", "-1", "1.0", "99999999999999999999", "1e3", "nan", "all", "x" * 9_999]
)
def test_a_malformed_fold_is_refused(tmp_path: Path, fold: str) -> None:
    (tmp_path / "folds.csv").write_text(f"car,fold\nabc,0\nabd,{fold}\n")
    with pytest.raises(UserError, match=r"folds\.csv: row 2: fold is .*; expected a whole number"):
        read_folds(tmp_path / "folds.csv")


@pytest.mark.parametrize("fold", ["", "²", "٣", "-1", "+1", "1_0", "1.0", "9" * 20, "9" * 5_000, "All", " 1"])
def test_a_malformed_fold_of_the_command_line_is_refused(fold: str) -> None:
    with pytest.raises(UserError, match="--fold "):
        parse_fold(fold)


def test_folds_of_the_command_line() -> None:
    assert [parse_fold(text) for text in ("all", "0", "07", "12")] == [None, 0, 7, 12]
    assert [fold_name(parse_fold(text)) for text in ("all", "07")] == ["all", "7"]


def test_several_folds_of_the_command_line(rendered: Path, tmp_path: Path) -> None:
    photos = train_samples(rendered)
    cars = sorted({photo.car for photo in photos})
    table = tmp_path / "folds.csv"
    table.write_text("car,fold\n" + "".join(f"{car},{fold}\n" for fold, car in enumerate(cars)))
    split = Split.read(photos, table)
    assert split.select(["2", "0", "2"]) == [2, 0]
    assert split.select(["1", "all"]) == [1, 0, 2, 3]
    assert parse_single_fold(["2"]) == 2
    assert parse_single_fold([]) is None
    with pytest.raises(UserError, match="--fold 0 --fold 1: give one fold, or all"):
        parse_single_fold(["0", "1"])
