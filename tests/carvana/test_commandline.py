"""Exit status, errors in one line, hints, and the scripts' help without heavy imports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import SRC
from tests.scripts import run_script

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
    heavy = {"keras", "tensorflow", "dask", "distributed", "kaggle", "matplotlib", "scipy"} & sys.modules.keys()
    assert not heavy, (script, heavy)
    return output.getvalue()

scripts, ledger = Path(sys.argv[1]), sys.argv[2]
for script in sorted(scripts.glob("*.py")):
    assert f"./run.sh {script.stem}" in output_of(script, "--help"), script
assert "real-fast.csv.gz" in output_of(scripts / "compare.py", "--ledger", ledger)
"""


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--epochs", "3"], "--set stages.0.epochs=VALUE or --set refine.epochs=VALUE"),
        (["--base-filters", "8"], "a recipe's key is changed by --set base_filters=VALUE"),
        (["--recipes", "fast"], "--recipe"),
    ],
)
def test_an_unknown_option_leads_to_the_known_one(arguments: list[str], hint: str, tmp_path: Path) -> None:
    result = run_script("train", *arguments, cwd=tmp_path)
    assert result.status == 2
    text = " ".join(result.stderr.replace("│", " ").split())
    assert f"No such option: {arguments[0]}" in text
    assert hint in text


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("submit", ["--dry-run", "true"], "--dry-run takes no value; leave out 'true'"),
        (
            "submit",
            ["x.csv.gz", "--each-fold", "No"],
            "--each-fold takes no value; leave out '--each-fold No'",
        ),
        ("submit", ["--dry-run=true"], "'--dry-run' does not take a value"),
        (
            "predict",
            ["--recipe", "fast", "--each-fold", "yes"],
            "--each-fold takes no value; leave out 'yes'",
        ),
    ],
)
def test_a_value_of_a_flag_is_refused(
    script: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = run_script(script, *arguments, cwd=tmp_path)
    assert result.status == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_help_names_the_command_and_no_type_of_flags() -> None:
    command = [sys.executable, SRC / "train.py", "-h"]
    done = subprocess.run(command, env=ENVIRONMENT | {"COLUMNS": "80"}, capture_output=True, text=True)
    assert "Usage: ./run.sh train [OPTIONS]" in done.stdout
    assert "bool" not in done.stdout


SCRIPT = """
import carvana.startup
from carvana import commandline, console

def script(path: str = "", lines: int = 1) -> None:
    for _ in range(lines):
        console.message("Größe ☂ \\udce9")
    console.show_table("Größe", ["a"], [["1"]])
    if path:
        open(path, "w").write(100_000 * "x")

commandline.run(script)
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
    done = subprocess.run(
        ["bash", "-c", command],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    expected = (0, "ignored\n", "") if ignored else (-signal.SIGINT, "", "")
    assert (done.returncode, done.stdout, done.stderr) == expected


@pytest.mark.parametrize("text", ["", "detached"])
def test_ctrl_c_is_one_line(text: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from carvana import commandline\n\n"
        f"def script():\n    raise KeyboardInterrupt({text!r})\n\n"
        "commandline.run(script)\n"
    )
    done = subprocess.run([sys.executable, script], env=ENVIRONMENT, capture_output=True, text=True)
    expected = text or "stopped; what is finished is kept, and the same command continues from there"
    assert (done.returncode, done.stderr) == (130, f"{expected}\n")


def test_an_error_that_ctrl_c_caused_in_a_library_is_one_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import carvana.startup, os, signal\nfrom carvana import commandline\n\n"
        "def script():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except BaseException:\n        raise ImportError('half imported')\n\n"
        "commandline.run(script)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert (done.returncode, done.stderr) == (
        130,
        "stopped; what is finished is kept, and the same command continues from there\n",
    )


def test_help_of_every_script_and_compare_import_nothing_heavy() -> None:
    """One process runs all of them; see `commandline.run` for the rule."""
    ledger = SRC.parent / "submissions" / "real-ledger.csv"
    code = [sys.executable, "-c", RUN_SCRIPTS, str(SRC), str(ledger)]
    done = subprocess.run(code, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
