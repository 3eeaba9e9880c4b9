"""Files and folders: writing that leaves them complete or absent, JSON, gzip, and checksums."""

import errno
import fcntl
import glob
import hashlib
import io
import itertools
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from isal import igzip

from carvana.errors import UserError

_GZIP_LEVEL = 2
"""Compression level of ISA-L. On run-length text, zlib's highest level takes 40 times as long for 3% less."""


_HINTS = {
    errno.ENOSPC: "; free some space and run the same command again",
    errno.EDQUOT: "; free some space and run the same command again",
    errno.EACCES: "; choose a folder that you may write to",
    errno.EPERM: "; choose a folder that you may write to",
    errno.EROFS: "; choose a folder that you may write to",
}
"""What to do about an error of the system, by its number."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the file's folder, and rename it to the file when the block ends without an error.

    If `path` is a symbolic link, the file is the one that it leads to, and the link stays.

    The temporary name keeps the ending (`.csv.gz`, `.keras`), from which some writers infer the format. Processes
    that write the same file do so one after the other, and what a killed one left is overwritten by the next.

    Raises:
        UserError: the file cannot be written, e.g. because the disk is full, or is not a regular file.
    """
    path = Path(path)
    file = Path(os.path.realpath(path))
    part = _temporary(path)
    try:
        _check_regular(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(lambda: part, os.O_RDWR | os.O_CREAT):
            try:
                yield part
                os.replace(part, file)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError) or _names_another_file(error, path, part):
            raise
        raise UserError(f"{path}: cannot be written ({_reason(error)}){_hint(error)}") from error


def delete_partial(path: Path) -> None:
    """Delete what a killed process left of a file that it was writing under `atomic_path`."""
    _temporary(path).unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, and rename it to `path` when the block ends without an error.

    Each call has a folder of its own, so that no process writes into another's. What killed processes left of earlier
    calls is removed.

    Raises:
        UserError: `path` is there and is not an empty folder.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    with _locked_folder(path) as part:
        try:
            yield part
            _replace_empty(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary folders of `atomic_folder(path)` that killed processes left."""
    path = Path(os.path.realpath(path))
    for part in path.parent.glob(f".part-{glob.escape(path.name)}-*/"):
        with suppress(
            OSError
        ):  # in use by a running process, removed by another, or a file system without locks
            folder = os.open(part, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part)
            finally:
                os.close(folder)


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that it holds; nothing if there is neither."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unused_path(path: Path) -> Path:
    """Return the first of the paths NAME, NAME-2, NAME-3, ... that does not exist."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], numbered) if not os.path.lexists(one))


def describe_os_error(error: OSError) -> str:
    """Describe an error of the system in one line, with the file that it is about."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return (
        f"{' and '.join(names)}: {_reason(error)}{_hint(error)}" if names else _reason(error) + _hint(error)
    )


def read_json(path: Path, keys: Mapping[str, type]) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.
        keys: the keys that it must have, and the type of their values; others are read, too.

    Raises:
        UserError: the file is missing or malformed.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(describe_os_error(error)) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a whole JSON file ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds {type(values).__name__}; expected an object with {', '.join(keys)}")
    for key, of_type in keys.items():
        if not isinstance(values.get(key), of_type):
            raise UserError(f"{path}: {key} is {values.get(key)!r}; expected {of_type.__name__}")
    return values


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write an object as a JSON file for people, too; the file is complete or absent."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


@contextmanager
def write_gzipped(path: Path) -> Iterator[TextIO]:
    """Yield a text file that is compressed as it is written; it is complete or absent.

    The same text always gives the same bytes.
    """
    with atomic_path(path) as part, compressed_text(part) as text:
        yield text


@contextmanager
def compressed_text(path: Path) -> Iterator[TextIO]:
    """Yield a text file that is compressed as it is written; unlike that of `write_gzipped`, it is not atomic."""
    with (
        open(path, "wb") as raw,
        igzip.IGzipFile("", "wb", _GZIP_LEVEL, fileobj=raw, mtime=0) as compressed,
        io.TextIOWrapper(compressed, "utf-8", newline="") as text,
    ):
        yield text


@contextmanager
def read_gzipped(path: Path) -> Iterator[TextIO]:
    """Open a file of `write_gzipped` for reading."""
    with igzip.open(path, "rt", encoding="utf-8", newline="") as text:
        yield text


def open_regular(path: Path) -> io.FileIO:
    """Open a file for reading, without a buffer. Reading a pipe or a device, which may never end, is refused.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def sha256_of_file(path: Path) -> str:
    """Compute a file's SHA-256, in hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_text(text: str) -> str:
    """Compute the SHA-256 of a text in UTF-8, in hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _reason(error: OSError) -> str:
    return error.strerror or " ".join(str(error).split()) or type(error).__name__


def _hint(error: OSError) -> str:
    return _HINTS.get(error.errno or 0, "")


def _check_regular(path: Path) -> None:
    """Raise OSError for what must not be replaced by a file, e.g. a folder or `/dev/null`."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")


def _temporary(path: Path) -> Path:
    """Return the temporary path of a file, in the folder that a link leads to, with the ending of `path`."""
    file = Path(os.path.realpath(path))
    ending = "" if file.suffix == path.suffix else path.suffix
    return file.with_name(f".part-{file.name}{ending}")


@contextmanager
def _locked_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder of `path`, and hold its lock, by which `remove_leftovers` knows that it is in use."""

    def create() -> Path:
        part = path.with_name(f".part-{path.name}-{secrets.token_hex(4)}")
        part.mkdir()
        return part

    with _locked(create, os.O_RDONLY) as part:
        yield part


@contextmanager
def _locked(find: Callable[[], Path], flags: int) -> Iterator[Path]:
    """Hold the lock of a file or folder while the block lasts.

    The lock belongs to the file and not to its name. Another process may have renamed or removed the file before it
    was locked; then a new one is found.

    Args:
        find: returns the path.
        flags: flags of `os.open`.
    """
    while True:
        path = find()
        file = os.open(path, flags, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_named(file, path):
                yield path
                return
        finally:
            os.close(file)


def _replace_empty(folder: Path, path: Path) -> None:
    """Rename a folder to `path`, which must be absent or an empty folder."""
    try:
        os.rename(folder, path)  # replaces an empty folder
    except OSError as error:
        if not path.exists():
            raise
        raise UserError(f"{path}: is not an empty folder ({error.strerror})") from None


def _is_named(file: int, path: Path) -> bool:
    """Return whether an open file still has the name `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _names_another_file(error: OSError, *own: Path) -> bool:
    """Return whether an error is about another file than `own`, or than the folder of these."""
    if not isinstance(error.filename, str | bytes):
        return False
    named = Path(os.fsdecode(error.filename))
    return all(named != path and named not in path.parents for path in own)
