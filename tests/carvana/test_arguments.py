"""Whole numbers of the command line and of tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.arguments import parse_integer

NO_NUMBERS = [
    "",
    " ",
    "²",
    "³²",
    "٣",
    "３",
    "Ⅷ",
    "1_0",
    "+1",
    "-1",
    "1.0",
    "1e1",
    "0x1",
    " 1",
    "1 ",
    "1\n",
    "one",
]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "9" * 20, "9" * 5_000, "0" * 5_000])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert parse_integer(text, 0, 10**9) is None


@given(st.integers(-10, 1_010))
def test_numbers_in_the_range_are_parsed(number: int) -> None:
    assert parse_integer(str(number), 5, 1_000) == (number if 5 <= number <= 1_000 else None)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    number = parse_integer(text, 0, 9_999)
    assert number is None or text.lstrip("0") in (str(number), "")
