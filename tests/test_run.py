"""`run.sh` as a person calls it. What it does without arguments takes minutes: each step is tested by itself."""

import subprocess
from pathlib import Path

RUN = Path(__file__).parent.parent / "run.sh"


def test_help_names_every_step() -> None:
    done = subprocess.run([RUN, "--help"], capture_output=True, text=True, check=True)
    for step in (
        "prepare",
        "split",
        "train",
        "predict",
        "score",
        "submit",
        "compare",
        "study",
        "export",
        "test",
        "benchmark",
        "dask",
    ):
        assert step in done.stdout


def test_an_unknown_step_exits_2() -> None:
    done = subprocess.run([RUN, "fly"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: no step 'fly'\n"


def test_a_step_runs_in_the_projects_environment(tmp_path: Path) -> None:
    done = subprocess.run([RUN, "compare"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: submissions/ledger.csv: holds no submission yet; `./run.sh predict` writes the first\n"
    )


def test_dask_is_that_of_the_projects_environment(tmp_path: Path) -> None:
    done = subprocess.run([RUN, "dask", "worker", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--resources" in done.stdout
