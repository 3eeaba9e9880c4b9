"""What a person sees of long work."""

import io

import pytest
from rich.console import Console

from carvana import console


def test_lines_below_stand_under_each_plain_line(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_LINE_EVERY_S", 0.0)
    with console.progress("train", 4, "photos", details=lambda: ["a  fold 0", "b  fold 1"]) as advance:
        advance(2, "quick")
        advance(-1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train: 2/4 photos, ")
    assert lines[0].endswith(" s left  quick")
    assert lines[1:3] == ["  a  fold 0", "  b  fold 1"]
    assert lines[-1].startswith("train: 1 photos in ")


def test_lines_below_stand_under_the_bar() -> None:
    bar = console._Bar(details=lambda: ["a  fold 0 [not markup]"])
    shown = Console(file=io.StringIO(), width=40)
    for part in bar.get_renderables():
        shown.print(part)
    assert shown.file.getvalue().splitlines()[-1] == "a  fold 0 [not markup]"
