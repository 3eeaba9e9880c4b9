"""What a process sees of all that decides a result, so that workers that would make another are found beforehand."""

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from carvana.errors import UserError
from carvana.locks import is_locked
from carvana.tasks import Job

_SOURCE = Path(__file__).parents[2]

_LIBRARIES = (
    "keras",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
    "pillow",
    "isal",
    "albumentations",
    "segmentation-models",
    "dask",
    "distributed",
)

_SHARED = "shared"


def sight(job: Job, mark: Path, token: str) -> dict[str, str]:
    """What this process sees.

    Args:
        job: that it would work on.
        mark: a file in the job's folder, whose lock whoever gives out the work holds.
        token: its second line.

    Returns:
        Each thing's name, and its version or fingerprint.
    """
    from carvana.backend import keras  # late: it takes seconds

    backend = keras.backend.backend()
    seen = {
        "Python": platform.python_version(),
        "the code": _code(),
        "the backend": backend,
        **{name: _version(name) for name in (*_LIBRARIES, backend)},
        f"the folder {job.folder}": _folder(mark, token),
    }
    try:
        return seen | job.sees()
    except (UserError, OSError) as error:
        return seen | {"the job": str(error)}


def differences(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """What two processes see differently, as `thing (there, not here)`."""
    names = dict.fromkeys([*ours, *theirs])
    return [
        f"{name} ({theirs.get(name, 'unknown')}, here {ours.get(name, 'unknown')})"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def _code() -> str:
    """Names the source: every file of `src` that decides anything."""
    digest = hashlib.sha256()
    for path in sorted(path for ending in ("py", "toml") for path in _SOURCE.rglob(f"*.{ending}")):
        digest.update(str(path.relative_to(_SOURCE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _folder(mark: Path, token: str) -> str:
    """Whether this process can write to the folder that the others write to, and be locked out by them."""
    try:
        if mark.read_text().splitlines()[-1] != token:
            return "another folder of that name"
    except (OSError, IndexError):
        return "not shared"
    if not os.access(mark.parent, os.W_OK):
        return "not writable"
    return _SHARED if is_locked(mark) else "shared, but its file system keeps no locks between machines"
