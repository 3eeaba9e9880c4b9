"""Set up the environment of `run.sh`. This script imports only modules of Python itself.

python set_up.py install requirements ...   install lock files and this project into .venv
python set_up.py check requirements ...     compare the packages of the active Python with the required versions
"""

import csv
import fcntl
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
RUNS_IN_VENV = VENV.is_dir() and os.path.samefile(sys.prefix, VENV)
BASE_PYTHON = os.path.realpath(sys.executable) if RUNS_IN_VENV else sys.executable
"""The Python that .venv is made from; an activated .venv cannot be made from itself."""

INSTALLED = VENV / "installed"
"""Copies of the installed lock files, each written after its installation and removed before the next one.

The folder is made before anything else in .venv, so a .venv that has it was made or changed by this script.
"""

UNFINISHED = INSTALLED / "unfinished"
"""An empty file that is there while .venv is created."""

NEEDED_GB = 4
NEEDED_GB_CUDA = 12
"""Free disk for the packages, and for their downloads while they are installed; an estimate for CUDA."""

SUPPORTED = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}
"""Systems and processors for which the pinned TensorFlow has packages."""

OTHER_NAMES = {
    "opencv-python-headless": ["opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"],
    "tensorflow": ["tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly"],
}
"""Distributions that contain the same modules under another name."""

ONLY_FOR_INSTALLATION = {"setuptools"}
SEEDS = {"pip", "setuptools", "wheel"}
"""Packages of an environment into which nothing was installed."""

# During an update, the project's own metadata still name the old versions, which pip would complain about.
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts"]
_REDIRECTIONS = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in _REDIRECTIONS}
"""Variables for the programs that change .venv, without those that make pip look or install elsewhere."""


class SetUpError(Exception):
    """A reason why the environment cannot be set up, in one line."""


def install(names: list[str]) -> None:
    """Install lock files and this project into .venv, where that is not done yet.

    An environment that an interrupted installation left damaged is built again.

    Args:
        names: lock files without `.lock`; the first is the one that the others add to.
    """
    with _lock() as lock:
        locks = {f"{name}.lock": (ROOT / f"{name}.lock").read_bytes() for name in names}
        missing = [name for name, content in locks.items() if not _has(name, content)]
        project = os.fsencode(ROOT) + b"\n"
        if not (missing or _problem() or not _has("project", project)):
            return
        if missing:
            print("Setting up .venv. This takes a few minutes, once.", flush=True)
        if problem := _problem():
            _check_ownership(problem)
            _create(lock, NEEDED_GB_CUDA if "requirements-cuda.lock" in locks else NEEDED_GB)
            missing = list(locks)
        INSTALLED.mkdir(exist_ok=True)
        if missing:
            requirements = [f"--requirement={ROOT / name}" for name in missing]
            _install({name: locks[name] for name in missing}, ["--require-hashes", *requirements], lock)
        # The project is installed as a link to its folder, so it is installed again after a move of the folder.
        if not _has("project", project):
            options = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
            _install({"project": project}, options, lock)


@contextmanager
def _lock() -> Iterator[int]:
    """Wait for other processes that change .venv; yield the lock's file descriptor.

    Programs that change .venv inherit the descriptor, so that the lock lasts until the last of them has ended, even
    if this process is killed.
    """
    lock = os.open(ROOT / ".venv.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 20).decode() or "unknown"
            print(
                f"Another ./run.sh (process {owner}) is setting up .venv; waiting until it ends.", flush=True
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            print(
                f"{ROOT}: {error.strerror}: no locks here; run only one ./run.sh during set-up.", flush=True
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _has(name: str, content: bytes) -> bool:
    """Return whether a lock file, or the project, is installed in this version."""
    path = INSTALLED / name
    return path.is_file() and path.read_bytes() == content


def _install(contents: dict[str, bytes], options: list[str], lock: int) -> None:
    """Run `pip install`, and record in `INSTALLED` what it has installed."""
    for name in contents:
        (INSTALLED / name).unlink(missing_ok=True)
    if subprocess.run([PYTHON, *PIP, *options], env=ENVIRONMENT, pass_fds=[lock]).returncode:
        raise SetUpError(
            "the installation failed, see pip's messages above; .venv is kept, and the same command tries again"
        )
    for name, content in contents.items():
        (INSTALLED / name).write_bytes(content)


def _problem() -> str:
    """Return why .venv cannot be used, or "" if it can."""
    if UNFINISHED.exists():
        return "was not created to its end"
    if INSTALLED.is_dir() and (damaged := next(filter(_is_damaged, _packages()), None)):
        return f"has a damaged package, {damaged.stem}"
    return _python_problem()


def _python_problem() -> str:
    """Return why the Python in .venv, or its pip, cannot be used, or "" if they can.

    Other errors of the system, e.g. too little memory or a .venv for another processor, are raised: it may be good.
    """
    is_own = "import sys, os, pip; sys.exit(not os.path.samefile(sys.prefix, sys.argv[1]))"
    try:
        done = subprocess.run([PYTHON, "-c", is_own, VENV], env=ENVIRONMENT, capture_output=True)
    except (FileNotFoundError, PermissionError):
        return "has no Python that runs"
    if done.returncode < 0:  # says nothing about .venv
        raise SetUpError(f"{PYTHON} was ended by signal {-done.returncode}; the same command tries again")
    return "has no pip that runs" if done.returncode else ""


def _packages() -> list[Path]:
    """Return the metadata folders of the installed packages, and what pip has renamed during an update."""
    packages = VENV.glob("lib/python*/site-packages")
    return [path for folder in packages for path in (*folder.glob("*.dist-info"), *folder.glob("~*"))]


def _is_damaged(package: Path) -> bool:
    """Return whether pip was interrupted while it installed or removed a package.

    pip writes the list of a package's files last, and when it removes a package, it first renames the files.
    """
    record = package / "RECORD"
    if package.name.startswith("~") or not record.is_file():
        return True
    with open(record, newline="", encoding="utf-8") as file:
        paths = [row[0] for row in csv.reader(file) if row]
    return not all((package.parent / path).exists() for path in paths if not path.endswith(".pyc"))


def _check_ownership(problem: str) -> None:
    """Raise SetUpError if .venv is an environment of the user, who may want to repair it."""
    names = {package.name.partition("-")[0] for package in _packages()}
    if names - SEEDS and not INSTALLED.is_dir():
        raise SetUpError(f"{VENV} {problem}, and ./run.sh did not make it: repair it, or move it away")


def _create(lock: int, needed_gb: int) -> None:
    """Create .venv in place of a damaged one, if there is one."""
    _check_platform()
    _remove()
    _check_disk(needed_gb)
    failures = []
    for command in _creation_commands():
        _clear()
        done = subprocess.run(command, env=ENVIRONMENT, pass_fds=[lock], capture_output=True, text=True)
        if not done.returncode and not _python_problem():
            UNFINISHED.unlink()
            return
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no message"]
        failures.append(
            next((line for line in lines if re.search("error|failed", line, re.I)), lines[-1]).strip()
        )
    _remove()
    reason = f"cannot create environments ({'; '.join(failures)})" if failures else "lacks ensurepip"
    raise SetUpError(
        f"{sys.executable} {reason}: install Python's venv (Debian, Ubuntu: apt install python3-venv), virtualenv"
        " or uv; or use the active Python and its packages with VENV=none ./run.sh"
    )


def _creation_commands() -> list[list[str]]:
    """Return the commands that can create an environment here, the best one first."""
    venv = os.path.realpath(VENV)  # Python's venv refuses a link
    commands = []
    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        commands.append([BASE_PYTHON, "-m", "venv", venv])
    if importlib.util.find_spec("virtualenv") and not RUNS_IN_VENV:
        commands.append([BASE_PYTHON, "-m", "virtualenv", venv])
    if shutil.which("virtualenv"):
        commands.append(["virtualenv", "--python", BASE_PYTHON, venv])
    if shutil.which("uv"):
        commands.append(
            ["uv", "--no-config", "venv", "--seed", "--allow-existing", "--python", BASE_PYTHON, venv]
        )
    return commands


def _check_platform() -> None:
    """Raise SetUpError if there are no packages for this machine."""
    system, processor = platform.system(), platform.machine()
    if (system, processor) not in SUPPORTED:
        advice = " (on Apple silicon: PYTHON=/path/to/a/native/python3)" if system == "Darwin" else ""
        raise SetUpError(
            f"TensorFlow has no package for {system} on {processor}{advice}; use another machine"
        )


def _check_disk(needed_gb: int) -> None:
    """Raise SetUpError if there is no room for the packages."""
    free_gb = shutil.disk_usage(VENV if VENV.is_dir() else ROOT).free / 1e9
    if free_gb < needed_gb:
        raise SetUpError(
            f"{VENV} needs {needed_gb} GB of free disk, and there are {free_gb:.1f} GB; free some,"
            " or make .venv a link to a folder on another disk"
        )


def _clear() -> None:
    """Delete everything in .venv except `UNFINISHED`, which is made first."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    UNFINISHED.touch()
    for path in [*INSTALLED.glob("*"), *VENV.glob("*")]:
        if path.is_dir() and not path.is_symlink():
            if path != INSTALLED:
                shutil.rmtree(path)
        elif path != UNFINISHED:
            path.unlink()


def _remove() -> None:
    """Delete everything in .venv."""
    _clear()
    shutil.rmtree(INSTALLED)


def check(names: list[str]) -> None:
    """Print the packages of this Python that differ from the pinned versions.

    Args:
        names: requirements files without `.txt`.

    Raises:
        SetUpError: a package is missing.
    """
    pins: dict[str, str] = {}
    for name in names:
        pins.update(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / f"{name}.txt").read_text(), re.MULTILINE))
    found = {name: _version(name) for name in pins if name not in ONLY_FOR_INSTALLATION}
    rows = [(name, pins[name], version or "none") for name, version in found.items() if version != pins[name]]
    print(f"VENV=none: {sys.executable} has {len(found) - len(rows)} of {len(found)} packages as required")
    if rows:
        width = max(len(name) for name, _, _ in rows)
        for name, needed, version in [("package", "needed", "found"), *rows]:
            print(f"  {name:<{width}}  {needed:<12}  {version}")
    sys.stdout.flush()
    if missing := [f"{name}=={pins[name]}" for name, version in found.items() if not version]:
        raise SetUpError(f"packages are missing: {sys.executable} -m pip install {' '.join(missing)}")


def _version(name: str) -> str:
    """Return the version of an installed package, or "" if it is not installed."""
    for candidate in [name, *OTHER_NAMES.get(name, [])]:
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            pass
    return ""


def main() -> None:
    """Run the command that the arguments name."""
    command = {"install": install, "check": check}[sys.argv[1]]
    try:
        command(sys.argv[2:])
    except SetUpError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or VENV}: {error.strerror}; the same command tries again")
    except KeyboardInterrupt:
        print("stopped; the same command continues from there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
