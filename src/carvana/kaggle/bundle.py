"""The script that is pushed to Kaggle: one file that holds the project's code and the settings of a session."""

import base64
import hashlib
import io
import lzma
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from carvana.kaggle.session.settings import SETTINGS_FILE, SessionSettings

_PROJECT = Path(__file__).parents[3]
_SUFFIXES = (".py", ".toml")
"""Endings of the files of src that are part of the bundle."""
_LINE = 120

_SCRIPT = Template('''\
"""$title. Written by the project's command with --on kaggle; pushed again, it is written anew.

It holds the project's code and the settings of this session as an archive, whose SHA-256 is checked before it runs.
"""

import base64
import hashlib
import io
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import tempfile

SHA256 = "$sha256"
ARCHIVE = """
$archive
"""

archive = lzma.decompress(base64.b85decode("".join(ARCHIVE.split())))
if hashlib.sha256(archive).hexdigest() != SHA256:
    sys.exit("error: this script was changed after it was written: the SHA-256 of its archive differs")
code = tempfile.mkdtemp(prefix="carvana-")
with tarfile.open(fileobj=io.BytesIO(archive)) as files:
    files.extractall(code, filter="data")

session = subprocess.Popen(
    [sys.executable, "-u", "-m", "carvana.kaggle.session", code, SHA256],
    env={**os.environ, "PYTHONPATH": os.path.join(code, "src"), "PYTHONUNBUFFERED": "1"},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors="replace",
)
signal.signal(signal.SIGTERM, lambda *_: session.terminate())
for line in session.stdout:
    print(line, end="", flush=True)
if session.wait():
    sys.exit("the session failed; see the line above")
''')


@dataclass(frozen=True)
class Bundle:
    """A script for Kaggle."""

    script: str
    sha256: str
    """SHA-256 of everything that the script holds."""
    n_files: int


def make_bundle(settings: SessionSettings, title: str, extra: Mapping[str, bytes]) -> Bundle:
    """Make the script of a session. The same arguments and code give the same bytes.

    Args:
        settings: the session's settings.
        title: first line of the script.
        extra: content of further files by their paths in the bundle, such as the fold table.
    """
    files = _project_files() | dict(extra) | {SETTINGS_FILE: settings.to_json().encode()}
    archive = _tar(files)
    sha256 = hashlib.sha256(archive).hexdigest()
    text = base64.b85encode(lzma.compress(archive, preset=9 | lzma.PRESET_EXTREME)).decode()
    lines = [text[first : first + _LINE] for first in range(0, len(text), _LINE)]
    script = _SCRIPT.substitute(title=title, sha256=sha256, archive="\n".join(lines))
    return Bundle(script, sha256, len(files))


def _project_files() -> dict[str, bytes]:
    """Return the content of all modules and recipes, and the pins, by their paths."""
    paths = [path for suffix in _SUFFIXES for path in (_PROJECT / "src").rglob(f"*{suffix}")]
    paths.append(_PROJECT / "requirements.txt")
    return {path.relative_to(_PROJECT).as_posix(): path.read_bytes() for path in paths}


def _tar(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of files, which depends on nothing but their names and contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
