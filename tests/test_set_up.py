"""The set-up of `run.sh`: with a stand-in for Python that records what pip would install, and with a real package.

The real environments need no network: their requirements are one wheel beside the clone.
"""

import base64
import hashlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

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
        for name in ("run.sh", "set_up.py"):
            shutil.copy(ROOT / name, root)
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
    project.write_program("nvidia-smi", "#!/usr/bin/env bash\necho 'GPU 0: Tesla T4'\n")
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


BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")
N_MODULES = 300
TIMEOUT_S = 120
STEP = """
import os, pathlib, small
modules = list(pathlib.Path(small.__file__).parent.glob("m*.py"))
print(f"small {small.VERSION} with {len(modules)} modules, PYTHONPATH={os.environ.get('PYTHONPATH')}")
"""
BUILD_BACKEND = """
import pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "clone-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("clone.pth", str(pathlib.Path("src").resolve()))
        info = "clone-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: clone\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


def write_wheel(folder: Path, version: str) -> str:
    """Write the wheel of a package `small` with many modules; return its line in a lock file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"small-{version}-py3-none-any.whl"
    info = f"small-{version}.dist-info"
    files = {f"small/m{n}.py": f"N = {n}\n" for n in range(N_MODULES)}
    files["small/__init__.py"] = f"VERSION = {version!r}\n"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: small\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    digests = {name: hashlib.sha256(text.encode()).digest() for name, text in files.items()}
    record = [f"{name},sha256={_base64(digest)},{len(files[name])}\n" for name, digest in digests.items()]
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": "".join(record) + f"{info}/RECORD,,\n"}.items():
            wheel.writestr(name, text)
    return f"small=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def _base64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Clone:
    """A folder with `run.sh` and a step that needs the package `small`."""

    def __init__(self, folder: Path, programs: Path) -> None:
        """Use the clone in `folder`, or make it. `programs` gets the only programs on its PATH."""
        self.folder, self.programs, self.venv = folder, programs, folder / ".venv"
        programs.mkdir()
        for name in ("bash", "sh", "env", "dirname", "cmp", "sed"):
            (programs / name).symlink_to(shutil.which(name))
        if folder.exists():
            return
        (folder / "src").mkdir(parents=True)
        (folder / "src" / "split.py").write_text(STEP)
        for name in ("run.sh", "set_up.py"):
            shutil.copy(ROOT / name, folder)
        (folder / "backend.py").write_text(BUILD_BACKEND)
        build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        (folder / "pyproject.toml").write_text(build)
        self.require("1.0")

    def require(self, version: str) -> None:
        """Change the lock file."""
        (self.folder / "requirements.lock").write_text(write_wheel(self.folder / "wheels", version))

    def program(self, name: str, text: str) -> Path:
        """Write a shell script onto PATH."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def start(self, **variables: str) -> subprocess.Popen:
        """Start `./run.sh split`."""
        settings = {
            "PATH": str(self.programs),
            "PYTHON": BASE_PYTHON,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
            "HOME": str(self.folder),
        }
        return subprocess.Popen(
            [self.folder / "run.sh", "split"],
            env={**settings, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def output(self, **variables: str) -> str:
        """Run `./run.sh split`, which must succeed; return its output."""
        return output_of_process(self.start(**variables))

    def error(self, **variables: str) -> str:
        """Run `./run.sh split`, which must fail with one line after what pip prints; return that line."""
        process = self.start(**variables)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1, stderr
        *others, line = stderr.splitlines()
        assert all(other.startswith(("ERROR: ", "WARNING: ")) for other in others), stderr
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    def installed(self, path: str) -> Path:
        """Return where a file of a package is, or would be."""
        (packages,) = list(self.venv.glob("lib/python*/site-packages")) or [self.venv / "lib" / "none"]
        return packages / path

    def python_with(self, code: str) -> str:
        """Return a Python that runs some code before everything else, for a machine that lacks something."""
        (self.programs / "sitecustomize.py").write_text(code)
        text = f'PYTHONPATH="{self.programs}" exec "{BASE_PYTHON}" "$@"'
        return str(self.program("python-with", text))


def output_of_process(process: subprocess.Popen) -> str:
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, stderr
    assert stderr == ""
    return stdout


WORKS = "small 1.0 with 300 modules, PYTHONPATH=None\n"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone before its first set-up."""
    return Clone(tmp_path / "clone", tmp_path / "programs")


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone after its set-up. Tests only copy it."""
    folder = tmp_path_factory.mktemp("complete")
    clone = Clone(folder / "clone", folder / "programs")
    assert clone.output() == f"Setting up .venv. This takes a few minutes, once.\n{WORKS}"
    assert clone.output() == WORKS
    return clone


@pytest.fixture
def set_up(complete: Clone, tmp_path: Path) -> Clone:
    """A clone after its set-up, which the test may change."""
    shutil.copytree(complete.folder, tmp_path / "clone", symlinks=True)
    clone = Clone(tmp_path / "clone", tmp_path / "programs")
    (clone.venv / "installed" / "project").write_text(f"{clone.folder}\n")
    return clone


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, "the process ended before"
        assert time.monotonic() < end
        time.sleep(0.001)


def kill_group(clone: Clone, process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def kill_shell(clone: Clone, process: subprocess.Popen) -> None:
    process.kill()


def kill_set_up(clone: Clone, process: subprocess.Popen) -> None:
    os.kill(int((clone.folder / ".venv.lock").read_text()), signal.SIGKILL)


def interrupt_group(clone: Clone, process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("moment", "kill"),
    [
        ("bin/python", kill_group),
        ("lib/*/site-packages/pip/__init__.py", kill_group),
        pytest.param("lib/*/site-packages/pip/__init__.py", kill_set_up, marks=pytest.mark.slow),
        ("lib/*/site-packages/small/m0.py", kill_shell),
        pytest.param("lib/*/site-packages/small/m0.py", interrupt_group, marks=pytest.mark.slow),
        pytest.param("installed/requirements.lock", kill_group, marks=pytest.mark.slow),
    ],
)
def test_a_killed_set_up_is_completed_by_the_next_run(clone: Clone, moment: str, kill: Callable) -> None:
    killed = clone.start()
    wait_for(lambda: any(clone.venv.glob(moment)), killed)
    kill(clone, killed)
    assert clone.output().endswith(WORKS)  # without waiting for what the killed one has left behind
    killed.communicate(timeout=TIMEOUT_S)
    assert clone.output() == WORKS


@pytest.mark.parametrize("kill", [kill_group, kill_set_up])
def test_a_killed_update_is_completed_by_the_next_run(set_up: Clone, kill: Callable) -> None:
    set_up.require("2.0")
    killed = set_up.start()
    wait_for(lambda: not set_up.installed("small-1.0.dist-info").exists(), killed)
    kill(set_up, killed)
    assert "small 2.0 with 300 modules" in set_up.output()
    killed.communicate(timeout=TIMEOUT_S)
    assert "small 2.0 with 300 modules" in set_up.output()


def test_two_runs_at_once_set_up_once(clone: Clone) -> None:
    processes = [clone.start(), clone.start()]
    outputs = sorted(map(output_of_process, processes))
    assert outputs[0].startswith("Another ./run.sh (process ")
    assert outputs[1] == f"Setting up .venv. This takes a few minutes, once.\n{WORKS}"
    assert outputs[0].endswith(f") is setting up .venv; waiting until it ends.\n{WORKS}")


@pytest.mark.parametrize(
    "lost",
    [
        "small/m7.py",
        pytest.param("small-1.0.dist-info/RECORD", marks=pytest.mark.slow),
        pytest.param("pip", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_environment_is_built_again(set_up: Clone, lost: str) -> None:
    path = set_up.installed(lost)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (set_up.venv / "installed" / "requirements.lock").unlink()
    assert set_up.output().endswith(WORKS)


def test_an_environment_whose_python_is_gone_is_built_again(set_up: Clone) -> None:
    for name in ("python", "python3"):
        (set_up.venv / "bin" / name).unlink(missing_ok=True)
        (set_up.venv / "bin" / name).symlink_to("/nowhere/python3")
    assert set_up.output().endswith(WORKS)


@pytest.mark.slow
def test_an_activated_environment_is_built_again(set_up: Clone) -> None:
    shutil.rmtree(set_up.installed("pip"))
    (set_up.venv / "installed" / "requirements.lock").unlink()
    assert set_up.output(PATH=f"{set_up.venv / 'bin'}:{set_up.programs}", PYTHON="python3").endswith(WORKS)


def test_a_damaged_environment_of_the_user_is_kept(set_up: Clone) -> None:
    shutil.rmtree(set_up.venv / "installed")
    shutil.rmtree(set_up.installed("pip"))
    assert "has no pip that runs, and ./run.sh did not make it: repair it, or move it away" in set_up.error()
    assert set_up.installed("small/m7.py").exists()


def test_an_environment_that_cannot_be_checked_now_is_kept(set_up: Clone) -> None:
    (set_up.venv / "installed" / "requirements.lock").unlink()
    (set_up.venv / "bin" / "python").unlink()
    (set_up.venv / "bin" / "python").symlink_to(set_up.program("killed", "kill -9 $$"))
    assert set_up.error().endswith("was ended by signal 9; the same command tries again")
    assert set_up.installed("small/m7.py").exists()


def test_an_environment_outlives_a_failed_download(set_up: Clone) -> None:
    lock = (set_up.folder / "requirements.lock").read_text()
    set_up.require("2.0")
    error = set_up.error(PIP_FIND_LINKS=str(set_up.folder))
    assert error == (
        "the installation failed, see pip's messages above; .venv is kept, and the same command tries again"
    )
    assert set_up.installed("small-1.0.dist-info/RECORD").exists()
    (set_up.folder / "requirements.lock").write_text(lock)
    assert set_up.output(PIP_FIND_LINKS=str(set_up.folder)).endswith(WORKS)


@pytest.mark.slow
def test_venv_may_be_a_link_to_another_disk(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    clone.venv.symlink_to(tmp_path / "disk")
    assert clone.output().endswith(WORKS)
    assert (tmp_path / "disk" / "bin" / "python").exists()


WITHOUT_ENSUREPIP = "import sys\nsys.modules['ensurepip'] = None\n"


def test_without_ensurepip_one_line_tells_what_to_install(clone: Clone) -> None:
    error = clone.error(PYTHON=clone.python_with(WITHOUT_ENSUREPIP))
    assert "lacks ensurepip: install Python's venv (Debian, Ubuntu: apt install python3-venv), " in error
    assert error.endswith("or use the active Python and its packages with VENV=none ./run.sh")
    assert not any(clone.venv.glob("*"))
    assert clone.output().endswith(WORKS)


@pytest.mark.slow
def test_what_an_earlier_failure_left_is_replaced(clone: Clone) -> None:
    """An environment without packages, which `python3 -m venv` leaves behind where ensurepip is missing."""
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", clone.venv], check=True)
    assert clone.output().endswith(WORKS)


@pytest.mark.parametrize("tool", ["uv", pytest.param("virtualenv", marks=pytest.mark.slow)])
def test_without_ensurepip_another_tool_creates_the_environment(clone: Clone, tool: str) -> None:
    python = clone.python_with(WITHOUT_ENSUREPIP)
    clone.program(tool, f'for folder; do :; done; exec "{BASE_PYTHON}" -m venv "$folder"')
    assert clone.output(PYTHON=python).endswith(WORKS)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "import platform\nplatform.system, platform.machine = lambda: 'Darwin', lambda: 'x86_64'\n",
            "TensorFlow has no package for Darwin on x86_64 "
            "(on Apple silicon: PYTHON=/path/to/a/native/python3); use another machine",
        ),
        (
            "import shutil\nshutil.disk_usage = lambda path: shutil._ntuple_diskusage(9e9, 6e9, 3e9)\n",
            "needs 4 GB of free disk, and there are 3.0 GB; free some,"
            " or make .venv a link to a folder on another disk",
        ),
        (
            "import sys\nsys.version_info = (3, 14, 0)\n",
            "Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=/path/to/python3",
        ),
    ],
)
def test_an_unsuitable_machine_is_refused_before_anything_is_installed(
    clone: Clone, code: str, line: str
) -> None:
    assert clone.error(PYTHON=clone.python_with(code)).endswith(line)
    assert not any(clone.venv.glob("*"))


def test_a_kaggle_notebook_needs_no_venv(project: Project) -> None:
    (project.programs / "python").unlink()
    project.write_program("python3", '#!/usr/bin/env bash\n[[ $1 == -c ]] || echo "$PYTHONPATH $*"\n')
    environment = {
        **os.environ,
        "PATH": f"{project.programs}{os.pathsep}{os.environ['PATH']}",
        "KAGGLE_KERNEL_RUN_TYPE": "Interactive",
        "PYTHONPATH": "",
    }
    done = subprocess.run([project.root / "run.sh", "split"], env=environment, capture_output=True, text=True)
    source = f"{project.root}/src"
    assert done.stdout.splitlines() == [
        f"{source} -m carvana.kaggle.session.packages {project.root}/requirements.txt",
        f"{source} {source}/split.py",
    ]


class TestWithoutVenv:
    """`VENV=none ./run.sh` with the Python that runs the tests."""

    ACTIVE: ClassVar = {"VENV": "none", "PYTHON": sys.executable}

    @pytest.fixture
    def clone(self, clone: Clone) -> Clone:
        (clone.folder / "src" / "small.py").write_text("VERSION = 'of the notebook'\n")
        return clone

    def test_packages_of_other_versions_are_reported(self, clone: Clone) -> None:
        pytest_version = importlib.metadata.version("pytest")
        numpy_version = importlib.metadata.version("numpy")
        (clone.folder / "requirements.txt").write_text(f"pytest=={pytest_version}\nnumpy==0.1  # old\n")
        lines = clone.output(**self.ACTIVE).splitlines()
        assert lines[0] == f"VENV=none: {sys.executable} has 1 of 2 packages as required"
        assert [line.split() for line in lines[1:3]] == [
            ["package", "needed", "found"],
            ["numpy", "0.1", numpy_version],
        ]
        assert lines[3].startswith("small of the notebook")
        assert lines[3].endswith(f"PYTHONPATH={clone.folder / 'src'}")
        assert not clone.venv.exists()

    def test_a_missing_package_is_an_error(self, clone: Clone) -> None:
        (clone.folder / "requirements.txt").write_text("carvana-needs-this==1.2\n")
        error = clone.error(**self.ACTIVE)
        assert error == f"packages are missing: {sys.executable} -m pip install carvana-needs-this==1.2"

    def test_another_value_is_an_error(self, clone: Clone) -> None:
        assert (
            clone.error(VENV="no") == "VENV=no: expected none (use the active Python), or no VENV (use .venv)"
        )
