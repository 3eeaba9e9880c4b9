"""From photos to masks."""

import numpy as np

from carvana.inference.maps import mask_of


def test_the_map_is_upsampled_before_the_threshold() -> None:
    """A slope from 0 to 1 over two pixels has its half in the middle of the photo."""
    slope = np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    mask = mask_of(slope, (2, 200), 0.5)
    assert mask.dtype == bool
    assert mask.sum() == 2 * 100
    assert mask_of(slope, (2, 200), 0.75).sum() == 2 * 75
