"""The manifest of a notebook's output: written last, with the size and SHA-256 of every other file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from carvana.errors import UserError
from carvana.files import read_json, sha256_of_file, write_json

MANIFEST = "manifest.json"
"""Name of the file in the output."""
_FORMAT = 1


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex digits) of a file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """Return the entry of a file."""
        return cls(path.stat().st_size, sha256_of_file(path))

    def check(self, path: Path) -> None:
        """Raise UserError if a file is missing, or is not the one that was entered."""
        if not path.is_file():
            raise UserError(f"{path}: missing, although the manifest lists it")
        if FileEntry.of(path) != self:
            raise UserError(f"{path}: is not the file of the manifest; its size or SHA-256 differs")


@dataclass(frozen=True)
class Manifest:
    """Content of a notebook's output."""

    key: str
    """Key of the session's settings."""
    bundle: str
    """SHA-256 of the bundle that was pushed."""
    finished: bool
    """False if a command failed, or the session's time was over before its work was done."""
    files: Mapping[str, FileEntry]
    """Finished files by their paths in the output."""
    state: Mapping[str, FileEntry] = field(default_factory=dict)
    """Archives with what an unfinished session continues from."""
    machine: str = ""
    """Description of the machine and of its libraries."""
    failure: str = ""
    """Reason why a command failed; "" if none did."""

    def write(self, folder: Path) -> None:
        """Write the manifest into the folder of the output."""
        write_json({"format": _FORMAT} | asdict(self), folder / MANIFEST)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, and check that its paths stay within the output's folder.

    Raises:
        UserError: the file is malformed, or has a path that leads out of the folder.
    """
    keys = {"format": int, "key": str, "bundle": str, "finished": bool, "files": dict, "state": dict}
    values = read_json(path, keys | {"machine": str, "failure": str})
    if values["format"] != _FORMAT:
        raise UserError(
            f"{path}: is of format {values['format']}; this version of the project reads {_FORMAT}"
        )
    files, state = _entries(path, values["files"]), _entries(path, values["state"])
    plain = {name: values[name] for name in ("key", "bundle", "finished", "machine", "failure")}
    return Manifest(**plain, files=files, state=state)


def check_relative(name: str, where: str) -> None:
    """Raise UserError if a path of an output leads out of its folder, or is not in its plain form."""
    path = PurePosixPath(name)
    plain = name == str(path) and "\\" not in name and "\0" not in name
    if not plain or path.is_absolute() or ".." in path.parts or not path.name:
        raise UserError(f"{where}: names {name!r}, which leads out of the folder; nothing is fetched")


def _entries(path: Path, values: Mapping[str, object]) -> dict[str, FileEntry]:
    entries = {}
    for name, entry in values.items():
        check_relative(name, str(path))
        match entry:
            case {"size": int(size), "sha256": str(digest)}:
                entries[name] = FileEntry(size, digest)
            case _:
                raise UserError(f"{path}: the entry of {name} is {entry!r}; expected size and sha256")
    return entries
