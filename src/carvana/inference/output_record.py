"""A folder's record of the files that were written to it, so that files of others are never replaced."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from carvana.errors import UserError
from carvana.files import atomic_path, describe_os_error, sha256_of_file, sha256_of_text


@dataclass(frozen=True)
class OutputClaim:
    """A file's content that was written, or that was about to be written when the process was killed."""

    file: str
    """Name of the file in the folder, or of a folder in it."""
    sha256: str
    """SHA-256 of the content, in hex digits; of a folder, that of the names and SHA-256 of its files."""
    source: str
    """Digest of everything that the content was made from."""


class OutputRecord:
    """The record, a text file with a claim as JSON per line.

    A claim is appended before its file is renamed to its name, and holds the content's SHA-256. A process that is
    killed in between leaves a claim of content that no file has, and the older claim of the content that the file
    has. Lines that are damaged claim nothing. Threads may share a record, processes use it one after the other.
    """

    def __init__(self, path: Path) -> None:
        """Read the record, which need not exist."""
        self._path = path
        self._claims: dict[str, list[OutputClaim]] = {}
        self._settled: set[str] = set()  # files that hold the content of their newest claim
        self._lock = threading.Lock()
        for claim in _read_claims(path):
            self._claims.setdefault(claim.file, []).append(claim)

    def is_current(self, file: Path, source: str) -> bool:
        """Return whether a file was written from `source`; it may have been edited since."""
        claims = self._claims.get(file.name)
        if not claims or claims[-1].source != source or not file.is_file():
            return False
        digest = sha256_of_file(file)
        if digest == claims[-1].sha256:
            self._settled.add(file.name)
            return True
        return all(digest != claim.sha256 for claim in claims)

    def may_replace(self, file: Path) -> bool:
        """Return whether a file or folder does not exist, or holds what was written to it."""
        if not file.exists():
            return not file.is_symlink()
        claims = self._claims.get(file.name, [])
        return bool(claims) and _content_sha256(file) in {claim.sha256 for claim in claims}

    def write(self, file: Path, content: bytes, source: str) -> None:
        """Write a file of the folder and its claim; the file is complete or absent."""
        with self.replace(file, source) as part:
            part.write_bytes(content)

    @contextmanager
    def replace(self, file: Path, source: str) -> Iterator[Path]:
        """Yield a temporary path as `atomic_path` does, and claim what was written to it before it is renamed."""
        with atomic_path(file) as part:
            yield part
            self._claim(file.name, part, source)
        self._settled.add(file.name)

    @contextmanager
    def replace_folder(self, folder: Path, source: str) -> Iterator[Path]:
        """Yield the path of a temporary folder, and claim and rename it when the block ends without an error.

        The block creates the temporary folder. If `folder` exists, it is replaced.

        Raises:
            UserError: the folder cannot be written, e.g. because the disk is full.
        """
        target = Path(os.path.realpath(folder))
        part, old = (target.with_name(f".{prefix}-{target.name}") for prefix in ("part", "old"))
        for left in (part, old):  # by a killed process
            shutil.rmtree(left, ignore_errors=True)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield part
            self._claim(folder.name, part, source)
            if target.exists():
                os.replace(
                    target, old
                )  # at once: no claim names the content of a folder that is deleted half
            os.replace(part, target)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({describe_os_error(error)})") from None
        finally:
            for left in (part, old):
                shutil.rmtree(left, ignore_errors=True)
        self._settled.add(folder.name)

    def _claim(self, name: str, content: Path, source: str) -> None:
        claim = OutputClaim(name, _content_sha256(content), source)
        with self._lock, open(self._path, "a", encoding="utf-8") as record:
            # The line break before it ends what a killed process may have left of a line.
            record.write(f"\n{_line(claim)}\n")
            self._claims.setdefault(name, []).append(claim)

    def compact(self) -> None:
        """Write the record anew, if it differs, sorted and without claims that no file holds any more."""
        for name in self._settled:
            self._claims[name] = self._claims[name][-1:]
        lines = [_line(claim) for name in sorted(self._claims) for claim in self._claims[name]]
        content = "".join(f"{line}\n" for line in dict.fromkeys(lines)).encode()
        if self._claims and content != self._path.read_bytes():
            with atomic_path(self._path) as part:
                part.write_bytes(content)


def _content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or that of the names and SHA-256 of all files in a folder."""
    if not path.is_dir():
        return sha256_of_file(path)
    files = sorted(file for file in path.rglob("*") if not file.is_dir())
    return sha256_of_text(
        "".join(f"{sha256_of_file(file)} {file.relative_to(path).as_posix()!r}\n" for file in files)
    )


def _line(claim: OutputClaim) -> str:
    return json.dumps(asdict(claim), sort_keys=True)


def _read_claims(path: Path) -> Iterator[OutputClaim]:
    """Yield the claims of a record's file, without its damaged lines."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        try:
            values = json.loads(line)
            claim = OutputClaim(**values)
        except (ValueError, TypeError, RecursionError):
            continue
        if all(isinstance(value, str) for value in values.values()):
            yield claim
