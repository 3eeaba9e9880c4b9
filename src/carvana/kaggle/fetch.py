"""Fetching of a version's output, verified by the manifest that its session wrote last."""

import time
from collections.abc import Mapping
from pathlib import Path

import requests

from carvana import console
from carvana.data.disk import check_space
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.kaggle.client import TIMEOUT_S, TemporaryError, describe_errors
from carvana.kaggle.kernel import Kernel
from carvana.kaggle.manifest import MANIFEST, FileEntry, Manifest, read_manifest

_ATTEMPTS = 6
"""Attempts to fetch a file; each continues where the last one was interrupted."""
FIRST_PAUSE_S = 1.0
_CHUNK = 1 << 20
_MB = 1_000_000
_MAX_MANIFEST = 50 * _MB


class InvalidOutputError(UserError):
    """An output without a manifest, or with one that is malformed or belongs to another command."""


class Output:
    """The output of a version, whose signed addresses are listed again when one of them has failed."""

    def __init__(self, kernel: Kernel, version: int, first_pause_s: float = FIRST_PAUSE_S) -> None:
        """Initialize without a request.

        Args:
            kernel: the notebook.
            version: the version's number.
            first_pause_s: seconds before the second attempt to fetch a file; each further pause is twice as long.
        """
        self._kernel, self._version, self._first_pause_s = kernel, version, first_pause_s
        self._addresses: Mapping[str, str] | None = None

    def fetch_manifest(self, folder: Path, key: str) -> Manifest:
        """Fetch the manifest.

        Args:
            folder: the folder to write it to.
            key: the key that it must have.

        Raises:
            InvalidOutputError: there is none, because the session did not end by itself; it is malformed, or that of
                another command.
            UserError: Kaggle refuses, or the connection is interrupted repeatedly.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / MANIFEST
        path.unlink(missing_ok=True)
        self._fetch(MANIFEST, path, None)
        try:
            manifest = read_manifest(path)
        except UserError as error:
            raise InvalidOutputError(f"{self._kernel.url}: version {self._version}: {error}") from None
        if manifest.key != key:
            raise InvalidOutputError(
                f"{self._kernel.url}: version {self._version} is the output of another command"
            )
        return manifest

    def fetch_files(self, files: Mapping[str, FileEntry], folder: Path) -> None:
        """Fetch files into a folder; those that it has already are not fetched again.

        Args:
            files: the files' entries in the manifest, by their paths.
            folder: the folder.

        Raises:
            UserError: a file is missing, differs from its entry, or the connection is interrupted repeatedly.
        """
        missing = {name: entry for name, entry in files.items() if not _is_complete(folder / name, entry)}
        check_space(folder, sum(entry.size for entry in missing.values()), "--runs")
        total, done = sum(entry.size for entry in missing.values()), 0
        with console.progress(f"fetch {len(missing)} files", -(-total // _MB), "MB") as advance:
            for name, entry in missing.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(name, path, entry)
                advance(-(-(done + entry.size) // _MB) - -(-done // _MB))
                done += entry.size

    def _fetch(self, name: str, path: Path, entry: FileEntry | None) -> None:
        """Fetch a file, in several attempts if necessary, and check it against its entry."""
        part = path.with_name(f".part-{path.name}")
        part.unlink(missing_ok=True)
        pause_s = self._first_pause_s
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with describe_errors(f"fetch {name}"):
                    self._continue(self._address(name), part, entry)
                break
            except TemporaryError as error:
                if attempt == _ATTEMPTS:
                    raise
                console.message(f"{error}; trying again")
            except UserError:  # the address may have expired
                if attempt > 1:
                    raise
            self._addresses = None
            time.sleep(pause_s)
            pause_s *= 2
        if entry and FileEntry.of(part) != entry:
            part.unlink()
            raise UserError(
                f"{name}: what Kaggle sends is not the file of the manifest (its size or SHA-256 differs);"
                " nothing of this version is used. Run the same command again, and if this remains, with --fresh"
            )
        part.replace(path)

    def _continue(self, address: str, part: Path, entry: FileEntry | None) -> None:
        """Fetch what is missing of a file."""
        done = part.stat().st_size if part.exists() else 0
        if entry and 0 < entry.size == done:  # the connection was lost after the last byte
            return
        limit = entry.size if entry else _MAX_MANIFEST
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        # The address is signed: it needs no credentials, and must not get any.
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            continues = response.status_code == requests.codes.partial_content
            done = done if continues else 0
            with open(part, "ab" if continues else "wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    done += len(chunk)
                    if done > limit:
                        return  # the check of the file reports it
                    file.write(chunk)

    def _address(self, name: str) -> str:
        if self._addresses is None:
            self._addresses = self._kernel.output(self._version)
        if name not in self._addresses:
            lacks = f"{self._kernel.url}: the output of version {self._version} lacks {name}"
            if name == MANIFEST:
                raise InvalidOutputError(f"{lacks}: the session was ended before it had saved its output")
            raise UserError(f"{lacks}, which its manifest lists")
        return self._addresses[name]


def _is_complete(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.size and sha256_of_file(path) == entry.sha256
