"""Run-length encoding, above all at the edges of a mask."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from carvana.competition import rle
from carvana.data import images
from carvana.errors import UserError


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        ("0011", "3 2"),
        ("1100", "1 2"),
        ("1111", "1 4"),
        ("0000", ""),
        ("1000", "1 1"),
        ("0001", "4 1"),
        ("0101", "2 1 4 1"),
        ("1011", "1 1 3 2"),
        ("1", "1 1"),
        ("0", ""),
    ],
)
def test_runs_at_the_edges_of_a_mask(pixels: str, text: str) -> None:
    mask = np.array([[int(pixel) for pixel in pixels]], dtype=np.uint8)
    assert rle.encode(mask) == text
    assert np.array_equal(rle.decode(text, mask.shape), mask)


def test_pixels_are_numbered_row_by_row() -> None:
    mask = np.array([[0, 1], [1, 0]], dtype=bool)
    assert rle.encode(mask) == "2 2"  # the run continues from the first row to the second


@given(nps.arrays(bool, nps.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_decoding_inverts_encoding(mask: np.ndarray) -> None:
    assert np.array_equal(rle.decode(rle.encode(mask), mask.shape), mask)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=40))
def test_encoding_inverts_decoding(lengths: list[int]) -> None:
    gaps, runs = lengths[: len(lengths) // 2], lengths[len(lengths) // 2 :]
    position, numbers = 1, []
    for gap, run in zip(gaps, runs, strict=False):
        position += gap
        numbers += [position, run]
        position += run
    text = " ".join(map(str, numbers))
    assert rle.encode(rle.decode(text, (1, position + 1))) == text


def test_adjacent_runs_are_valid() -> None:
    assert rle.decode("1 2 3 2", (2, 3)).tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "holds 3 numbers"),
        ("1 3 2 2", "run 2 overlaps"),
        ("5 1 1 1", "run 2 starts before"),
        ("6 2", "run 1 ends at pixel 7, past the 6 pixels of 3x2"),
        ("0 2", "run 1 starts at 0"),
        ("1 0", "run 1 is 0 pixels long"),
        ("1 -2", "contains '-2', which is no whole number"),
        ("1 two", "contains 'two', which is no whole number"),
        ("1 99999999999999999999", "run 1 contains 99999999999999999999, more than any photo has pixels"),
        ("100 9223372036854775806", "run 1 contains 9223372036854775806, more than"),
        ("9223372036854775807 1", "run 1 contains 9223372036854775807, more than"),
        ("1 1 9223372036854775808 1", "run 2 contains 9223372036854775808, more than"),
        ("2147483648 1", "run 1 contains 2147483648, more than"),
        ("2147483647 2147483647", "run 1 ends at pixel 4294967293, past the 6 pixels"),
        (f"1 {'9' * 5000}", r"run 1 contains 9{30}\.\.\., more than"),
        ("-9223372036854775808 1", "contains '-9223372036854775808', which is no whole number"),
        ("-99999999999999999999 1", "which is no whole number"),
        ("+1 2", r"contains '\+1', which is no whole number"),
        ("1 2.0", "contains '2.0', which is no whole number"),
        ("1e0 2", "no whole number"),
        ("0x1 2", "no whole number"),
        ("1_0 2", "no whole number"),
        ("1,2", "contains '1,2', which is no whole number"),
        ("nan 2", "no whole number"),
        ("² 2", "contains '²', which is no whole number"),
        ("١ 2", "no whole number"),
        ("１ 2", "no whole number"),
        ("1 2\0", "no whole number"),
        ("\0", "no whole number"),
        ("1\N{NO-BREAK SPACE}2 3", "no whole number"),
        (" ", "is blank"),
        ("\n", "is blank"),
        (f"1 {'x' * 5000}", r"contains 'x{30}\.\.\.', which"),
    ],
)
def test_malformed_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rle.decode(text, (2, 3))


@given(st.text(alphabet="0123456789 -+.e_x\t\n\0²٣", max_size=40) | st.text(max_size=10))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        starts, lengths = rle.parse_runs(text)
    except UserError as error:
        assert "\n" not in str(error)
        return
    numbers = [int(part) for part in text.split()]
    assert np.array_equal(starts, np.array(numbers[::2], dtype=np.int64) - 1)
    assert np.array_equal(lengths, numbers[1::2])
    assert (starts >= 0).all()
    assert (lengths >= 1).all()
    assert (starts[1:] >= (starts + lengths)[:-1]).all()


@pytest.mark.slow
@pytest.mark.real
def test_real_masks_survive_decoding_and_encoding(real_data: Path) -> None:
    """All masks of train_masks.csv are unchanged by decoding and encoding, and equal the GIF files."""
    masks = pd.read_csv(real_data / "train_masks.csv")
    for text in masks["rle_mask"]:
        assert rle.encode(rle.decode(text, (1280, 1918))) == text
    for name, text in masks.sample(50, random_state=0).itertuples(index=False):
        gif = real_data / "train_masks" / f"{name.removesuffix('.jpg')}_mask.gif"
        assert rle.encode(images.read_mask(gif)) == text
