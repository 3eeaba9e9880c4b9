"""Dimensions of the cars."""

import numpy as np

from carvana.turntable.dimensions import BODY_TYPES, sample_dimensions


def test_cars_cycle_through_the_body_types_with_dimensions_of_their_own() -> None:
    cars = [sample_dimensions(index, np.random.default_rng(index)) for index in range(14)]
    assert [car.body_type for car in cars] == [*BODY_TYPES, *BODY_TYPES]
    for field in ("length", "width", "height", "wheel_radius", "ground_clearance"):
        assert len({getattr(car, field) for car in cars}) == len(cars)
