"""The scripts, called in this process or started as a person starts them."""

import contextlib
import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from carvana import commandline

SRC = Path(__file__).parents[1] / "src"
TIMEOUT_S = 300


@dataclass(frozen=True)
class Result:
    """What a script ended with."""

    status: int
    stdout: str
    stderr: str


def run_script(script: str, *arguments: object, cwd: Path) -> Result:
    """Run a script in this process: its status and output are those of the command, and it costs no start-up."""
    app = commandline.command(getattr(importlib.import_module(script), script))
    with contextlib.chdir(cwd):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return Result(result.exit_code, result.stdout, result.stderr)


def output_of(script: str, *arguments: object, cwd: Path) -> str:
    """Run a script that must succeed; return what it prints."""
    return successful_output(run_script(script, *arguments, cwd=cwd))


def error_of(script: str, *arguments: object, cwd: Path) -> str:
    """Run a script that must refuse its input; return its one line."""
    result = run_script(script, *arguments, cwd=cwd)
    assert result.status == 1, result.stdout + result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def start_script(script: str, *arguments: object, cwd: Path) -> subprocess.Popen:
    """Start a script as a process of its own, as `./run.sh SCRIPT` does."""
    command = [sys.executable, SRC / f"{script}.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen) -> Result:
    """Wait for the end of a process."""
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    return Result(process.returncode, stdout, stderr)


def successful_output(result: Result) -> str:
    """Return what a script printed that must have succeeded without a warning."""
    assert result.status == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Wait for what a running process is about to do."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, "the process ended before"
        assert time.monotonic() < end, f"not within {TIMEOUT_S} s"
        time.sleep(0.02)
