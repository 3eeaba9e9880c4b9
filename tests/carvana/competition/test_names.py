"""Names of photos and masks."""

import pytest

from carvana.competition.names import car_and_angle, mask_name, photo_name
from carvana.errors import UserError


def test_photo_name_contains_car_and_angle() -> None:
    assert car_and_angle("00087a6bd4dc_16.jpg") == ("00087a6bd4dc", 16)
    assert photo_name("00087a6bd4dc", 1) == "00087a6bd4dc_01.jpg"
    assert mask_name("00087a6bd4dc_01.jpg") == "00087a6bd4dc_01_mask.gif"


@pytest.mark.parametrize(
    "name", ["cat.jpg", "00087a6bd4dc_17.jpg", "00087a6bd4dc_00.jpg", "00087A6BD4DC_01.jpg"]
)
def test_invalid_photo_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=name):
        car_and_angle(name)
