"""The competition's score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as nps

from carvana.competition import rle
from carvana.competition.dice import dice, dice_from_edges


def test_dice_of_half_a_mask() -> None:
    assert dice(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])) == pytest.approx(2 / 3)


def test_dice_of_two_empty_masks_is_one() -> None:
    assert dice(np.zeros(4), np.zeros(4)) == 1
    assert dice_from_rle("", "") == 1


def test_dice_of_an_empty_and_a_nonempty_mask_is_zero() -> None:
    assert dice(np.zeros(4), np.ones(4)) == 0
    assert dice_from_rle("", "1 4") == dice_from_rle("1 4", "") == 0


def dice_from_rle(first: str, second: str) -> float:
    return dice_from_edges(*(rle.runs_to_edges(*rle.parse_runs(text)) for text in (first, second)))


@given(nps.arrays(bool, (2, 5, 7)))
def test_run_lengths_score_like_pixels(masks: np.ndarray) -> None:
    assert dice_from_rle(*map(rle.encode, masks)) == dice(*masks)


@given(nps.arrays(bool, (2, 5, 7)))
def test_run_edges_score_like_pixels(masks: np.ndarray) -> None:
    assert dice_from_edges(*map(rle.mask_to_edges, masks)) == dice(*masks)
