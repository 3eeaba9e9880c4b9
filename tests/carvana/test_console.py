"""Progress, and the scripts' help without heavy imports."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console
from tests.conftest import SRC

from carvana import console

RUN_SCRIPTS = """
import contextlib, io, runpy, sys
from pathlib import Path

def output_of(script, *arguments):
    sys.argv, output = [script.name, *arguments], io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            assert not end.code, script
    heavy = {"keras", "tensorflow", "dask", "distributed", "kaggle", "matplotlib"} & sys.modules.keys()
    assert not heavy, (script, heavy)
    return output.getvalue()

scripts, ledger = Path(sys.argv[1]), sys.argv[2]
for script in sorted(scripts.glob("*.py")):
    assert f"./run.sh {script.stem}" in output_of(script, "--help"), script
assert "real-fast.csv.gz" in output_of(scripts / "compare.py", "--ledger", ledger)
"""


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


def test_details_follow_the_bar() -> None:
    bar = console.DetailedProgress(details=lambda: ["a  fold 0 [not markup]"])
    output = Console(file=io.StringIO(), width=40)
    for renderable in bar.get_renderables():
        output.print(renderable)
    assert output.file.getvalue().splitlines()[-1] == "a  fold 0 [not markup]"


def test_help_of_every_script_and_compare_import_nothing_heavy() -> None:
    """One process runs all of them; see `console.run` for the rule."""
    ledger = SRC.parent / "submissions" / "ledger.csv"
    code = [sys.executable, "-c", RUN_SCRIPTS, str(SRC), str(ledger)]
    done = subprocess.run(code, env=os.environ | {"PYTHONPATH": str(SRC)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
