"""Messages for invalid input, which may contain names and values of any form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.errors import UserError, prefix_errors


@given(st.text())
def test_a_message_is_one_printable_line(text: str) -> None:
    message = str(UserError(text))
    assert message.isprintable()
    assert len(message) < 2_100


def test_characters_that_are_not_printable_are_escaped() -> None:
    assert str(UserError("a\tb.csv: \x00 \udcff é 車")) == r"a\tb.csv: \x00 \udcff é 車"
    assert str(UserError("a.csv: two\n lines\r\n")) == "a.csv: two lines "


def test_long_words_and_messages_are_shortened() -> None:
    message = str(UserError(f"fast.toml: seed: {'9' * 5_000} is too large"))
    assert message == f"fast.toml: seed: {'9' * 60}...{'9' * 20} is too large"
    message = str(UserError("known are " + "fast, " * 1_000 + "or give a file"))
    assert message.startswith("known are fast, fast")
    assert message.endswith("fast, or give a file")


def test_the_place_of_an_error_is_its_prefix() -> None:
    with pytest.raises(UserError, match=r"^truth\.csv: a\.jpg: no mask$"), prefix_errors("truth.csv: a.jpg"):
        raise UserError("no mask")
