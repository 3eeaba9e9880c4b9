"""The set-up of `run.sh`, with a stand-in for Python that records what pip would install."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/usr/bin/env bash
[[ $2 != pip ]] || echo "$*" >>"$LOG"
[[ $2 != pip || -z ${OFFLINE:-} ]]
"""


class Project:
    """A copy of `run.sh` with lock files of its own, and an environment that holds only the stand-in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        shutil.copy(ROOT / "run.sh", root)
        for name in ("requirements", "requirements-test", "requirements-cuda"):
            (root / f"{name}.lock").write_text("package==1\n")
        self.programs = root / ".venv" / "bin"
        self.programs.mkdir(parents=True)
        self.write_program("python", PYTHON)
        self.write_program("nvidia-smi", "#!/usr/bin/env bash\nexit 1\n")

    def write_program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def installed_by(self, *arguments: str, status: int = 0, **variables: str) -> list[str]:
        """Run `run.sh`; return what pip installed: names of lock files, and `project`."""
        log = self.root / "log"
        log.write_text("")
        environment = {
            **os.environ,
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "LOG": str(log),
            **variables,
        }
        done = subprocess.run([self.root / "run.sh", *arguments], env=environment, stdout=subprocess.DEVNULL)
        assert done.returncode == status
        installed = []
        for line in log.read_text().splitlines():
            locks = [part for part in line.split() if part.startswith("--requirement=")]
            assert bool(locks) == ("--require-hashes" in line)
            installed += [Path(part.partition("=")[2]).stem for part in locks] or ["project"]
        return installed


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_an_environment_is_set_up_once(project: Project) -> None:
    assert project.installed_by("split") == ["requirements", "project"]
    assert project.installed_by("split") == []


def test_only_the_tests_install_what_the_tests_need(project: Project) -> None:
    assert project.installed_by("split") == ["requirements", "project"]
    assert project.installed_by("test") == ["requirements-test"]
    assert project.installed_by("test") == project.installed_by("split") == []


def test_a_changed_lock_is_installed(project: Project) -> None:
    project.installed_by("test")
    (project.root / "requirements.lock").write_text("package==2\n")
    assert project.installed_by("test") == ["requirements"]


def test_an_interrupted_set_up_is_repeated(project: Project) -> None:
    """Also when the lock file is again the one that was installed before."""
    project.installed_by("split")
    lock = project.root / "requirements.lock"
    before = lock.read_text()
    lock.write_text("package==2\n")
    assert project.installed_by("split", OFFLINE="1", status=1) == ["requirements"]
    lock.write_text(before)
    assert project.installed_by("split") == ["requirements"]


def test_cuda_is_added_where_there_is_a_gpu(project: Project) -> None:
    project.installed_by("split")
    project.write_program("nvidia-smi", "#!/usr/bin/env bash\n")
    assert project.installed_by("split") == ["requirements-cuda"]


def test_a_moved_project_is_installed_again(project: Project, tmp_path: Path) -> None:
    project.installed_by("split")
    moved = project.root.rename(tmp_path / "moved")
    project.root, project.programs = moved, moved / ".venv" / "bin"
    assert project.installed_by("split") == ["project"]


def test_another_python_is_refused(project: Project, tmp_path: Path) -> None:
    (project.programs / "python").unlink()
    project.write_program("python3.10", "#!/usr/bin/env bash\nexit 1\n")
    command = [project.root / "run.sh", "split"]
    environment = {**os.environ, "PYTHON": str(project.programs / "python3.10")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == "error: Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=/path/to/python3\n"
    )
