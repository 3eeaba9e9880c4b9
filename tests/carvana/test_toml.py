"""Reading of TOML files, whatever is in them."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.errors import UserError
from carvana.toml import parse_toml, read_toml


@pytest.mark.parametrize(
    "content",
    [
        b"a = = 3",
        b"a = " + b"9" * 5_000,
        b"a = " + b"[" * 3_000,
        b"a = " + b"[" * 3_000 + b"]" * 3_000,
        b"a = " + b"{b = " * 3_000 + b"1" + b"}" * 3_000,
        b"a = \xff",
        b"\xef\xbb\xbfa = 1",
        b"\x00",
        b"a = 1\na = 2",
        b"# " + b"x" * 1_000_001,
        b"PK\x03\x04",
    ],
)
def test_what_is_no_toml_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.toml: not a TOML file"):
        read_toml(tmp_path / "mine.toml")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    (tmp_path / "folder.toml").mkdir()
    for name in ("loop.toml", "folder.toml", "null\0.toml", "x" * 300):
        with pytest.raises(UserError, match="cannot be read"):
            read_toml(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_toml(tmp_path / "none.toml")


def test_names_may_have_any_letters(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes('title = "Schräg, 車"'.encode())
    assert read_toml(tmp_path / "mine.toml") == {"title": "Schräg, 車"}


@given(st.text(alphabet="[]{}=\"'\n.,0123456789abc_-#+: e\\u", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_toml(text), dict)
