"""The truth that cut-outs are compared with, and the measure of their edges."""

import numpy as np
from benchmarks.edges import MAGENTA, cutouts, edge, over_magenta, views


def test_the_truth_is_the_car_over_magenta() -> None:
    for photo, coverage, truth in views(cars=1, angles=2, size=(64, 96)):
        inside, outside = coverage == 1, coverage == 0
        assert np.abs(photo[inside] - truth[inside]).mean() < 3  # noise
        assert (truth[outside] == MAGENTA).all()
        assert edge(coverage)[(coverage > 0.01) & (coverage < 0.99)].mean() > 0.9
        assert not edge(coverage)[:5].any()


def test_the_true_edge_with_the_cars_colours_is_close_to_the_truth() -> None:
    """With the true coverage in place of a network's probability."""
    *_, (photo, coverage, truth) = views(cars=2, angles=1, size=(320, 480))
    errors = {
        name: np.abs(over_magenta(rgba) - truth)[edge(coverage)].mean()
        for name, rgba in cutouts(photo, coverage, coverage).items()
    }
    assert errors["true edge, the car's colours"] < 0.6 * errors["true edge, the photo's colours"]
    assert errors["true edge, the photo's colours"] < errors["hard edge, the photo's colours (before)"]
