"""Run edges found in the map, compared with a map that is upsampled as a whole."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carvana.competition import rle
from carvana.data import images
from carvana.data.dataset import train_samples
from carvana.inference.contours import run_edges


def _upsampled_mask(probabilities: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    return cv2.resize(probabilities, size[::-1], interpolation=cv2.INTER_LINEAR) > threshold


@settings(deadline=None, max_examples=300)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 33)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from([0.5, 0.3, 0.7]),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_any_map_gives_the_upsampled_maps_mask(
    shape: tuple[int, int], size: tuple[int, int], threshold: float, seed: int, hard: bool
) -> None:
    """Noise, in which every cell is crossed, and maps of only 0 and 1; larger and smaller than the photo."""
    probabilities = np.random.default_rng(seed).random(shape, np.float32)
    if hard:
        probabilities = np.round(probabilities)
    edges = run_edges(probabilities, size, threshold)
    assert (np.diff(edges) > 0).all()
    values = cv2.resize(probabilities, size[::-1], interpolation=cv2.INTER_LINEAR)
    sure = np.abs(values - threshold) > 1e-5  # closer values depend on rounding
    assert np.array_equal(rle.edges_to_mask(edges, size)[sure], (values > threshold)[sure])


def test_the_map_is_upsampled_before_the_threshold() -> None:
    """A slope from 0 to 1 over two pixels crosses 0.5 in the middle of the photo."""
    slope = np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    mask = rle.edges_to_mask(run_edges(slope, (2, 200), 0.5), (2, 200))
    assert mask.dtype == bool
    assert mask.sum() == 2 * 100
    assert rle.edges_to_mask(run_edges(slope, (2, 200), 0.75), (2, 200)).sum() == 2 * 75


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_map_of_one_value(value: float) -> None:
    edges = run_edges(np.full((4, 6), value, np.float32), (40, 60), 0.5)
    assert edges.tolist() == ([0, 2400] if value > 0.5 else [])


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("size", [(288, 432), (1024, 1536), (1280, 1918)])
def test_real_cars_to_the_pixel(real_data, size: tuple[int, int]) -> None:
    """At most one pixel in 100,000 may differ; in all measurements none did."""
    for photo in train_samples(real_data)[::90]:
        soft = images.mask_coverage(images.read_mask(photo.mask), size).astype(np.float32) / 255
        soft = cv2.GaussianBlur(soft, (0, 0), 1.5)
        mask = rle.edges_to_mask(run_edges(soft, (1280, 1918), 0.5), (1280, 1918))
        assert np.mean(mask != _upsampled_mask(soft, (1280, 1918), 0.5)) <= 1e-5
