"""The environment fingerprint: everything a process has that decides a result, compared before it gets a task."""

import hashlib
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from carvana import console
from carvana.errors import UserError
from carvana.files import sha256_of_text
from carvana.locks import file_lock, is_locked
from carvana.tasks import Job

SOURCE = Path(__file__).parents[2]

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


@dataclass(frozen=True)
class FolderToken:
    """A locked file with a random last line, by which another process recognizes that its folder is the same one."""

    path: Path
    text: str

    def check(self) -> str:
        """Return "shared", or what is wrong with the folder as this process has it."""
        try:
            if self.path.read_text().splitlines()[-1] != self.text:
                return "another folder of that name"
        except (OSError, IndexError):
            return "not shared"
        if not os.access(self.path.parent, os.W_OK):
            return "not writable"
        return (
            "shared" if is_locked(self.path) else "shared, but its file system has no locks between machines"
        )


@contextmanager
def folder_token(folder: Path) -> Iterator[FolderToken]:
    """Keep a token in a folder while the block lasts."""
    text = uuid.uuid4().hex
    token = FolderToken(folder / f".cluster-{text[:8]}", text)
    try:
        with file_lock(token.path, console):
            with open(token.path, "a") as file:
                file.write(f"{text}\n")
            yield token
    finally:
        token.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class EnvironmentCheck:
    """The environment that the tasks of a job need. It is pickled, and checked by each worker."""

    job: Job
    token: FolderToken
    expected: dict[str, str]

    @property
    def digest(self) -> str:
        """A short name of the expected environment."""
        return sha256_of_text("\n".join(f"{name}={value}" for name, value in self.expected.items()))[:12]

    def differences(self) -> list[str]:
        """Compare this process with the expected environment, as `differences` does."""
        return differences(self.expected, environment_fingerprint(self.job, self.token))


def environment_fingerprint(job: Job, token: FolderToken) -> dict[str, str]:
    """Return the name and the version or fingerprint of everything in this process that decides the job's result."""
    from carvana.backend import keras  # late: it takes seconds

    backend = keras.backend.backend()
    found = {
        "Python": platform.python_version(),
        "the code": _source_fingerprint(),
        "the backend": backend,
        **{name: _version(name) for name in (*_LIBRARIES, backend)},
        f"the folder {job.folder}": token.check(),
    }
    try:
        return found | job.fingerprint()
    except (UserError, OSError) as error:
        return found | {"the job": str(error)}


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return each entry in which another process differs from this one, as `name (there, here ...)`."""
    names = dict.fromkeys([*expected, *found])
    return [
        f"{name} ({found.get(name, 'unknown')}, here {expected.get(name, 'unknown')})"
        for name in names
        if expected.get(name) != found.get(name)
    ]


def _source_fingerprint() -> str:
    """Return a digest of all files in `SOURCE` that can change a result."""
    digest = hashlib.sha256()
    for path in sorted(path for suffix in ("py", "toml") for path in SOURCE.rglob(f"*.{suffix}")):
        digest.update(str(path.relative_to(SOURCE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
