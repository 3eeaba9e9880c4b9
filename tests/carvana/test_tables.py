"""Tables: typed columns, and one line for each way in which a file can be damaged."""

import gzip
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carvana.errors import UserError
from carvana.tables import COUNT, DICE, TEXT, Columns, Number, Text, read_csv, read_csv_chunks, write_csv

SCORES: Columns = {"img": TEXT, "dice": DICE}
CSV = b"img,dice\na.jpg,0.5\nb.jpg,1\n"


def _zip(files: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return content.getvalue()


def _with_flipped_byte(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", CSV),
        ("x.csv.gz", gzip.compress(CSV, mtime=0)),
        ("x.zip", _zip([("any.csv", CSV)])),
        ("bom.csv", b"\xef\xbb\xbf" + CSV),
        ("windows.csv", CSV.replace(b"\n", b"\r\n")),
    ],
)
def test_columns_have_their_types(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    table = read_csv(tmp_path / name, SCORES)
    assert table.to_dict("list") == {"img": ["a.jpg", "b.jpg"], "dice": [0.5, 1.0]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "not a whole CSV file"),
        ("x.csv", b"\x00\xff\xfe", "not a whole CSV file"),
        ("x.csv", b'img,dice\n"a,1\n', "not a whole CSV file"),
        ("x.csv", CSV + b"c.jpg,1,2\n", "not a whole CSV file"),
        ("x.csv", b"img,dice\na,0,1\nb,0,1\n", "not a whole CSV file"),
        ("x.csv", b"img,score\na,1\n", "has no column 'dice'; it has img, score"),
        ("x.csv", CSV + b"c.jpg\n", "row 3: dice is ''; expected a number from 0 to 1"),
        ("x.csv", CSV + b"c.jpg,nan\n", "row 3: dice is 'nan'"),
        ("x.csv", CSV + b"c.jpg,1e400\n", "row 3: dice is '1e400'"),
        ("x.csv", CSV + b"c.jpg,-0.1\n", "row 3: dice is '-0.1'"),
        ("x.csv", CSV + "c.jpg,²\n".encode(), "row 3: dice is '²'"),
        ("x.csv.gz", CSV, "cannot be read"),
        ("x.csv.gz", gzip.compress(CSV, mtime=0)[:-9], "not a whole CSV file"),
        ("x.zip", CSV, "not a whole CSV file"),
        ("x.zip", _zip([]), "not a whole CSV file"),
        ("x.zip", _zip([("a", CSV), ("b", CSV)]), "not a whole CSV file"),
        ("x.zip", _with_flipped_byte(_zip([("a", CSV * 99)], zipfile.ZIP_LZMA), 50), "not a whole CSV file"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_csv(tmp_path / name, SCORES)
    assert str(caught.value).startswith(f"{tmp_path / name}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "cells", "values"),
    [
        (COUNT, ["0", "1000000000000000"], [0, 10**15]),
        (Number(0, 9, integer=True, optional=True), ["", "9"], [None, 9.0]),
        (Number(), ["-1e3", "2"], [-1000.0, 2.0]),
        (Text("[0-9a-f]{2}", "two hex digits"), ["a0", "ff"], ["a0", "ff"]),
    ],
)
def test_valid_cells(tmp_path: Path, column: Text | Number, cells: list[str], values: list) -> None:
    write_csv(pd.DataFrame({"x": cells, "y": "z"}), tmp_path / "x.csv")
    read = read_csv(tmp_path / "x.csv", {"x": column})["x"]
    assert [None if pd.isna(value) else value for value in read] == values


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (COUNT, "-1"),
        (COUNT, "1.0"),
        (COUNT, "1000000000000001"),
        (COUNT, "99999999999999999999999"),
        (COUNT, "٣"),
        (COUNT, ""),
        (Number(), ""),
        (Number(), "inf"),
        (Text("[0-9a-f]{2}", "two hex digits"), "a0\nff"),
    ],
)
def test_invalid_cells(tmp_path: Path, column: Text | Number, cell: str) -> None:
    write_csv(pd.DataFrame({"x": [cell], "y": "z"}), tmp_path / "x.csv")
    with pytest.raises(UserError, match=r"x\.csv: row 1: x is "):
        read_csv(tmp_path / "x.csv", {"x": column})


def test_chunks_have_the_rows_of_the_whole(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"n": range(25)}), tmp_path / "x.csv")
    chunks = list(read_csv_chunks(tmp_path / "x.csv", {"n": COUNT}, rows=10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    assert pd.concat(chunks)["n"].tolist() == list(range(25))


def test_the_row_of_an_invalid_cell_is_counted_over_all_chunks(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"n": [*range(24), "x"]}), tmp_path / "x.csv")
    with pytest.raises(UserError, match="row 25: n is 'x'"):
        list(read_csv_chunks(tmp_path / "x.csv", {"n": COUNT}, rows=10))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(content=st.binary(max_size=60), name=st.sampled_from(["x.csv", "x.csv.gz", "x.zip"]))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(b"img,dice\n" + content if name == "x.csv" else content)
    try:
        table = read_csv(tmp_path / name, SCORES)
    except UserError as error:
        assert str(error).startswith(str(tmp_path / name))
    else:
        assert table["dice"].between(0, 1).all()
