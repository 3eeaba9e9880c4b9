"""`run.sh` as a person calls it, in a copy of the project's folder with the environment that runs the tests."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .scripts import output_of

ROOT = Path(__file__).parents[1]
STEPS = ["prepare", "split", "train", "predict", "score", "submit", "compare", "study", "export", "page"]
RECIPE = """
model = "unet"
base_filters = 4
depth = 1
norm = "batch"
stages = [{size = [32, 48], epochs = 1, batch_size = 8, learning_rate = 1e-2}]
"""


class Checkout:
    """A folder with `run.sh` and the code of the project, and an environment that needs no installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = programs = folder / ".venv" / "bin"
        installed = folder / ".venv" / "installed"
        programs.mkdir(parents=True)
        installed.mkdir()
        for name in ("run.sh", "set_up.py"):
            shutil.copy(ROOT / name, folder)
        (folder / "src").symlink_to(ROOT / "src")
        for lock in ROOT.glob("*.lock"):
            shutil.copy(lock, folder)
            shutil.copy(lock, installed)
        (installed / "project").write_text(f"{folder}\n")
        for program, command in (("python", ""), ("dask", "-m dask")):
            (programs / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            (programs / program).chmod(0o755)

    def run(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.folder / "run.sh", *arguments],
            cwd=cwd or self.folder,
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


def test_help_names_every_step(checkout: Checkout) -> None:
    done = checkout.run("--help")
    assert done.returncode == 0
    for step in (*STEPS, "test", "benchmark", "dask"):
        assert step in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_an_unknown_step_exits_2(checkout: Checkout) -> None:
    done = checkout.run("fly")
    assert done.returncode == 2
    assert done.stderr == "error: no step 'fly'\n"


def test_a_step_runs_in_the_environment_of_the_project(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run("compare", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: submissions/ledger.csv: holds no submission yet; `./run.sh`, which runs all steps, writes the"
        " first\n"
    )


def test_dask_is_that_of_the_environment_of_the_project(checkout: Checkout, tmp_path: Path) -> None:
    for flag in ("--help", "-h"):
        done = checkout.run("dask", "worker", flag, cwd=tmp_path)
        assert done.returncode == 0
        assert "--resources" in done.stdout


PRINT_ARGUMENTS = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
echo "$(basename "$1" .py) ${*:2}"
"""


@pytest.mark.parametrize(
    ("gpus", "variables", "rendered", "recipe", "cluster"),
    [
        (0, {}, False, "fast", ""),
        (1, {}, False, "single", ""),
        (2, {}, False, "single", " --cluster local:2"),
        (0, {}, True, "miniature", ""),
        (4, {"RECIPE": "best"}, False, "best", " --cluster local:4"),
    ],
)
def test_the_recipe_and_the_number_of_processes_fit_data_and_hardware(
    tmp_path: Path, gpus: int, variables: dict[str, str], rendered: bool, recipe: str, cluster: str
) -> None:
    checkout = Checkout(tmp_path / "checkout")
    lines = "".join(f"GPU {number}: Tesla T4\n" for number in range(gpus))
    for program, text in {
        "python": PRINT_ARGUMENTS,
        "nvidia-smi": f"#!/bin/sh\nprintf '{lines}'\n" if gpus else "#!/bin/sh\nexit 1\n",
    }.items():
        (checkout.programs / program).write_text(text)
        (checkout.programs / program).chmod(0o755)
    (checkout.folder / "data").mkdir()
    if rendered:
        (checkout.folder / "data" / "test_masks.csv").touch()
    path = f"{checkout.programs}{os.pathsep}{os.environ['PATH']}"
    done = checkout.run(PATH=path, **variables)
    assert done.returncode == 0, done.stderr
    train = f"train --recipe {recipe} --data data --folds folds/data-5.csv --runs runs{cluster}"
    assert train in done.stdout.splitlines()
    assert f"predict --recipe {recipe} --data data --runs runs --each-fold" in done.stdout
    assert ("submit submissions/miniature.csv.gz --each-fold --board local" in done.stdout) == rendered


@dataclass(frozen=True)
class Everything:
    """A bare `./run.sh` on a few rendered cars, with a small recipe."""

    checkout: Checkout

    def run(self, cwd: Path | None = None) -> str:
        """Run all steps from a folder, by default that of `run.sh`; return what they print."""
        folder = self.checkout.folder
        places = {"DATA": "images", "RECIPE": "small.toml", "RUNS": "trained"}
        variables = {key: os.path.relpath(folder / place, cwd or folder) for key, place in places.items()}
        done = self.checkout.run(cwd=cwd, PYTHONPATH=str(folder / "shadows"), **variables)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout


@pytest.fixture(scope="module")
def everything(checkout: Checkout, rendered: Path) -> Everything:
    folder = checkout.folder
    shutil.copytree(rendered, folder / "images")
    (folder / "small.toml").write_text(RECIPE)
    output_of("split", "--data", "images", "--n-folds", 2, "--out", "folds/images-5.csv", cwd=folder)
    for name in (
        "dask",
        "distributed",
    ):  # in the place of Dask's modules, to notice imports
        module = folder / "shadows" / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text(f"open({str(folder / 'imported')!r}, 'a')\nraise ModuleNotFoundError\n")
    return Everything(checkout)


@pytest.fixture(scope="module")
def output(everything: Everything) -> str:
    """The output of the first run."""
    return everything.run()


def comparison_rows(output: str) -> list[list[str]]:
    """Return the rows of the comparison table, which a bare run prints in the end."""
    table = output.split("Cross-validation and leaderboard")[1]
    return [re.split(r"\s*│\s*", line.strip("│ ")) for line in table.splitlines() if ".csv.gz │" in line]


def test_a_bare_run_ends_with_the_comparison(everything: Everything, output: str) -> None:
    rows = comparison_rows(output)
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("small", "0", "small-fold0.csv.gz"),
        ("small", "1", "small-fold1.csv.gz"),
        ("small", "all", "small.csv.gz"),
    ]
    assert "submissions/report.html: written" in output
    assert (everything.checkout.folder / "submissions" / "report.html").is_file()


def test_a_second_bare_run_repeats_nothing(everything: Everything, output: str) -> None:
    folder = everything.checkout.folder
    patterns = ["images/*/*", "folds/*", "trained/**/[!.]*.*", "submissions/*.gz"]
    written = {path: path.stat().st_mtime_ns for pattern in patterns for path in folder.glob(pattern)}
    assert output.count("trained already") == output.count("predicted already") == 0
    again = everything.run(cwd=folder.parent)  # the paths are relative to the caller's folder
    assert again.count("trained already") == 2
    assert again.count("predicted already") == 3
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert comparison_rows(again) == comparison_rows(output)


def test_without_a_cluster_nothing_of_dask_is_imported(everything: Everything, output: str) -> None:
    assert "Out-of-fold Dice" in output
    assert not (everything.checkout.folder / "imported").exists()
