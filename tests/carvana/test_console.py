"""Progress and tables."""

import io

import pytest
from rich.console import Console

from carvana import console


def test_details_follow_each_plain_line(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LINE_INTERVAL_S", 0.0)
    with console.progress("train", 4, "photos", details=lambda: ["a  fold 0", "b  fold 1"]) as advance:
        advance(2, "quick")
        advance(-1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train: 2/4 photos, ")
    assert lines[0].endswith(" s left  quick")
    assert lines[1:3] == ["  a  fold 0", "  b  fold 1"]
    assert lines[-1].startswith("train: 1 photos in ")


@pytest.mark.parametrize(("width", "lines"), [(100, 1), (30, 2), (22, 3)])
def test_columns_are_stacked_on_a_narrow_terminal(
    width: int, lines: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    cells = ["0.995656", "0.996192", "fast.csv.gz"]
    console.show_table("Scores", ["CV Dice", "public", "submission"], [cells])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert all(cell in text for cell in cells)
    assert sum(any(cell in line for cell in cells) for line in text.splitlines()) == lines


def test_a_table_is_wide_where_there_is_no_terminal(capsys: pytest.CaptureFixture) -> None:
    console.show_table("Scores", [f"column {number}" for number in range(20)], [["x"] * 20])
    assert "column 0 ┃ column 1 ┃" in capsys.readouterr().out


def test_details_follow_the_bar() -> None:
    bar = console.DetailedProgress(details=lambda: ["a  fold 0 [not markup]"])
    output = Console(file=io.StringIO(), width=40)
    for renderable in bar.get_renderables():
        output.print(renderable)
    assert output.file.getvalue().splitlines()[-1] == "a  fold 0 [not markup]"


def test_a_count_agrees_with_its_noun() -> None:
    assert [console.counted(count, "photo") for count in (0, 1, 1792)] == [
        "0 photos",
        "1 photo",
        "1,792 photos",
    ]
