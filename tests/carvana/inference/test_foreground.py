"""The soft edge of a cut-out, and its colours."""

import numpy as np
import pytest

from carvana.inference.foreground import alpha_channel, cut_out, estimate_foreground


def test_the_threshold_is_half_opaque() -> None:
    probability = np.array([[0, 0.3, 0.6, 0.8, 1]], np.float32)
    assert alpha_channel(probability, 0.6, steepness=1).tolist() == [[0, 64, 128, 191, 255]]
    assert alpha_channel(probability, 0.5, steepness=1).tolist() == [[0, 76, 153, 204, 255]]


def test_what_is_nearly_sure_is_opaque_or_transparent() -> None:
    probability = np.array([[0.02, 0.24, 0.375, 0.5, 0.625, 0.76, 0.98]], np.float32)
    assert alpha_channel(probability, 0.5, steepness=2).tolist() == [[0, 0, 64, 128, 191, 255, 255]]


def _scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A red disc with a soft edge on light grey: photo, alpha, and the disc's true colours."""
    y, x = np.mgrid[:120, :160]
    alpha = np.clip(41 - np.hypot(y - 60, x - 80), 0, 1).astype(np.float32)
    colours = np.broadcast_to(np.array([180, 20, 30], np.float32), (120, 160, 3))
    photo = alpha[..., None] * colours + (1 - alpha[..., None]) * 200
    return np.rint(photo).astype(np.uint8), np.rint(alpha * 255).astype(np.uint8), colours


def test_the_ground_does_not_shine_through() -> None:
    photo, alpha, colours = _scene()
    edge = (alpha > 10) & (alpha < 245)
    before = np.abs(photo[edge].astype(float) - colours[edge])
    after = np.abs(estimate_foreground(photo, alpha)[edge].astype(float) - colours[edge])
    assert before.mean() > 50
    assert after.mean() < 2


def test_opaque_pixels_keep_their_colours() -> None:
    photo, alpha, _ = _scene()
    photo = np.random.default_rng(0).integers(256, size=photo.shape, dtype=np.uint8)
    foreground = estimate_foreground(photo, alpha)
    assert np.array_equal(foreground[alpha == 255], photo[alpha == 255])


def test_nothing_of_the_ground_remains_in_a_cut_out() -> None:
    photo, alpha, _ = _scene()
    rgba = cut_out(photo, alpha)
    assert rgba.shape == (120, 160, 4)
    assert np.array_equal(rgba[..., 3], alpha)
    assert not rgba[:10].any()
    assert rgba[..., 1].max() < 60  # the grey ground has 200


def test_strips_of_a_high_photo_give_the_same_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    photo, alpha = (rng.integers(256, size=size, dtype=np.uint8) for size in ((700, 20, 3), (700, 20)))
    assert np.array_equal(cut_out(photo, alpha)[..., :3], estimate_foreground(photo, alpha))


@pytest.mark.parametrize("level", [0, 255])
def test_a_photo_without_an_edge(level: int) -> None:
    photo = np.full((30, 40, 3), 77, np.uint8)
    rgba = cut_out(photo, np.full((30, 40), level, np.uint8))
    assert (rgba[..., 3] == level).all()
    assert (rgba[..., :3] == (77 if level else 0)).all()
