"""Progress, and the scripts' help without heavy imports."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.conftest import SRC

from carvana import console

ENVIRONMENT = os.environ | {"PYTHONPATH": str(SRC)}

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


SCRIPT = """
import carvana.startup
from carvana import console

def script(path: str = "", lines: int = 1) -> None:
    for _ in range(lines):
        console.message("Größe ☂ \\udce9")
    console.show_table("Größe", ["a"], [["1"]])
    if path:
        open(path, "w").write(100_000 * "x")

console.run(script)
"""


@pytest.mark.parametrize(
    ("arguments", "status", "last_line"),
    [
        ("--path /nowhere/x.txt", 1, "error: /nowhere/x.txt: No such file or directory"),
        ("--path /nowhere/x.txt >&-", 1, "error: /nowhere/x.txt: No such file or directory"),
        (
            "--path /dev/full",
            1,
            "error: No space left on device; free some space and run the same command again",
        ),
        (">/dev/full", 1, "error: No space left on device; free some space and run the same command again"),
        (
            "--help >/dev/full",
            1,
            "error: No space left on device; free some space and run the same command again",
        ),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("--path /nowhere/x.txt 2>&-", 1, ""),
        ("--lines x 2>&-", 2, ""),
        ("--lines 99999 | head -n 1 >&2; exit ${PIPESTATUS[0]}", 1, "Größe ☂ \\udce9"),
    ],
)
def test_errors_and_closed_streams_end_in_at_most_one_line(
    tmp_path: Path, arguments: str, status: int, last_line: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = f"{sys.executable} {script} {arguments}"
    done = subprocess.run(["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (status, last_line)


def test_a_terminal_of_ascii_gets_escapes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(r"Gr\xf6\xdfe \u2602 \udce9")


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_during_the_imports_ends_a_script_without_a_word(tmp_path: Path, ignored: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import carvana.startup, os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('ignored')\n"
    )
    command = "trap '' INT; " * ignored + f"exec {sys.executable} {script}"
    done = subprocess.run(["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True)
    expected = (0, "ignored\n", "") if ignored else (-signal.SIGINT, "", "")
    assert (done.returncode, done.stdout, done.stderr) == expected


def test_help_of_every_script_and_compare_import_nothing_heavy() -> None:
    """One process runs all of them; see `console.run` for the rule."""
    ledger = SRC.parent / "submissions" / "real-ledger.csv"
    code = [sys.executable, "-c", RUN_SCRIPTS, str(SRC), str(ledger)]
    done = subprocess.run(code, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
