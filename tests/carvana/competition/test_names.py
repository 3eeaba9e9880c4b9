"""Names of photos and masks."""

from pathlib import Path

import pytest

from carvana.competition.names import car_and_angle, check_listed_once, mask_name, photo_name
from carvana.errors import UserError


def test_photo_name_contains_car_and_angle() -> None:
    assert car_and_angle("00087a6bd4dc_16.jpg") == ("00087a6bd4dc", 16)
    assert photo_name("00087a6bd4dc", 1) == "00087a6bd4dc_01.jpg"
    assert mask_name("00087a6bd4dc_01.jpg") == "00087a6bd4dc_01_mask.gif"


@pytest.mark.parametrize(
    "name",
    ["cat.jpg", "00087a6bd4dc_17.jpg", "00087a6bd4dc_00.jpg", "00087A6BD4DC_01.jpg", "00087a6bd4dc_٠١.jpg"],
)
def test_invalid_photo_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=name):
        car_and_angle(name)


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ([], "lists no photos"),
        (["a", "b", "c", "b", "c"], r"has b more than once \(2 duplicate rows in all\)"),
    ],
)
def test_a_table_lists_each_photo_once(photos: list[str], message: str) -> None:
    check_listed_once(["a", "b"], Path("table.csv"))
    with pytest.raises(UserError, match=rf"table\.csv: {message}"):
        check_listed_once(photos, Path("table.csv"))
