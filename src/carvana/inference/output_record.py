"""A folder's record of the files that were written to it, so that files of others are never replaced."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from carvana.files import atomic_path, sha256_of_file


@dataclass(frozen=True)
class OutputClaim:
    """A file's content that was written, or that was about to be written when the process was killed."""

    file: str
    """Name of the file in the folder."""
    sha256: str
    """SHA-256 of the content, in hex digits."""
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
        """Return whether a file does not exist, or holds what was written to it."""
        if not file.exists():
            return not file.is_symlink()
        claims = self._claims.get(file.name, [])
        return file.is_file() and sha256_of_file(file) in {claim.sha256 for claim in claims}

    def write(self, file: Path, content: bytes, source: str) -> None:
        """Write a file of the folder and its claim; the file is complete or absent."""
        claim = OutputClaim(file.name, hashlib.sha256(content).hexdigest(), source)
        with atomic_path(file) as part:
            part.write_bytes(content)
            with self._lock, open(self._path, "a", encoding="utf-8") as record:
                # The line break before it ends what a killed process may have left of a line.
                record.write(f"\n{_line(claim)}\n")
                self._claims.setdefault(file.name, []).append(claim)
        self._settled.add(file.name)

    def compact(self) -> None:
        """Write the record anew, if it differs, sorted and without claims that no file holds any more."""
        for name in self._settled:
            self._claims[name] = self._claims[name][-1:]
        lines = [_line(claim) for name in sorted(self._claims) for claim in self._claims[name]]
        content = "".join(f"{line}\n" for line in dict.fromkeys(lines)).encode()
        if self._claims and content != self._path.read_bytes():
            with atomic_path(self._path) as part:
                part.write_bytes(content)


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
