"""The competition's zips: finding them, checking them, and unpacking them safely into a data folder."""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NoReturn

from carvana import console
from carvana.arguments import command
from carvana.data.disk import check_space_of_data
from carvana.errors import UserError
from carvana.files import atomic_folder, atomic_path, remove_leftovers, unused_path

PARTS = {
    "train": "*.jpg",
    "train_masks": "*_mask.gif",
    "test": "*.jpg",
    "train_masks.csv": "train_masks.csv",
    "metadata.csv": "metadata.csv",
    "sample_submission.csv": "sample_submission.csv",
}
"""Parts of a data folder by name, with the pattern of the files in its zip that belong to it."""

_HQ = ("train", "test")
"""Parts that are also available as high-resolution photos."""
_BLOCK = 4096
"""Allocation unit of file systems, in bytes."""
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
"""Errors that zipfile raises for a file that is damaged, encrypted or of an unknown kind."""
_READ_BYTES = 1 << 20
"""Bytes that are read at once."""


def missing_parts(data: Path) -> list[str]:
    """List the parts that a data folder lacks."""
    return [part for part, files in PARTS.items() if not _exists(data / part, files)]


def zip_name(part: str, hq: bool) -> str:
    """Return the name of a part's zip, e.g. `train.zip`, or with `hq` that of the large photos if there is one."""
    return f"{part}_hq.zip" if hq and part in _HQ else f"{part}.zip"


def remove_unfinished(data: Path) -> None:
    """Remove what killed processes left of parts that they unpacked or rendered into a data folder."""
    for path in (data, *(data / part for part in PARTS)):
        remove_leftovers(path)


def find_sources(data: Path, folders: Iterable[Path], hq: bool) -> dict[str, Path]:
    """Find the zips in `folders` of the parts that `data` lacks.

    Returns:
        The zip, or the uncompressed CSV file, of each part that was found.
    """
    sources: dict[str, Path] = {}
    for part in missing_parts(data):
        names = [zip_name(part, hq)] + [part] * part.endswith(".csv")
        candidates = [folder / name for folder in folders for name in names]
        source = next((path for path in candidates if path.is_file()), None)
        if source is not None:
            sources[part] = source
    return sources


def unpack_found(data: Path, folders: Iterable[Path], *, hq: bool = False, drop: bool = False) -> None:
    """Unpack the parts that a data folder lacks from zips in `folders`; its other parts are left unchanged.

    Args:
        data: the data folder.
        folders: folders to search, in this order.
        hq: use the zips of the large photos.
        drop: remove a zip in `data` itself after unpacking it.

    Raises:
        UserError: a zip is damaged or unsafe, the disk is too small, or the data folder is read-only.
    """
    sources = find_sources(data, folders, hq)
    if sources and data.is_dir() and not os.access(data, os.W_OK):
        _refuse_read_only(data, next(iter(sources.values())).parent)
    check_space_of_data(data, {part: space_of(part, source) for part, source in sources.items()})
    for part, source in sources.items():
        unpack(source, part, data)
        if drop and source.parent == data:
            source.unlink()


def _refuse_read_only(data: Path, zips: Path) -> NoReturn:
    """Raise UserError for a data folder that cannot be written to, such as a mounted one, with the command to use."""
    elsewhere = unused_path(Path(os.path.basename(os.path.realpath(data)) or "data"))
    prepare = command("prepare", "--zips", zips, "--data", elsewhere)
    raise UserError(f"{data}: is read-only; {prepare} unpacks the zips into another folder")


def space_of(part: str, source: Path) -> int:
    """Return the disk space in bytes that a part takes after unpacking.

    Raises:
        UserError: the zip is damaged or unsafe, or contains no file of the part.
    """
    if source.suffix != ".zip":
        return source.stat().st_size
    return sum(-(-member.file_size // _BLOCK) * _BLOCK for member in _members(source, part))


def unpack(source: Path, part: str, data: Path) -> None:
    """Unpack the zip of a part (or copy its CSV file) into a data folder, in which the part is complete or absent.

    Raises:
        UserError: the zip is damaged, contains no file of the part, or contains a path outside the folder.
    """
    if not zipfile.is_zipfile(source) and source.suffix != ".zip":
        with atomic_path(data / part) as copy:
            shutil.copyfile(source, copy)
        return
    members, target = _members(source, part), data / part
    if target.is_dir() and any(target.iterdir()):  # it has none of the part's files, see `missing_parts`
        raise UserError(f"{target}: holds other files than photos; move them away")
    is_table = PARTS[part] == part
    with (
        TemporaryDirectory() if is_table else atomic_folder(target) as folder,
        console.progress(f"unpack {source.name}", len(members), "files") as advance,
    ):
        _extract(source, members, Path(folder), advance)
        if is_table:
            with atomic_path(target) as copy:
                shutil.copyfile(Path(folder) / part, copy)


def _exists(path: Path, files: str) -> bool:
    return path.is_file() if files == path.name else any(path.glob(files))


def _members(source: Path, part: str) -> Sequence[zipfile.ZipInfo]:
    """List the files of a zip that belong to a part, in any folder of the zip."""
    try:
        with zipfile.ZipFile(source) as archive:
            everything = archive.infolist()
    except _DAMAGE as error:
        raise _damaged(source, str(error)) from None
    for member in everything:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename or _is_link(member):
            raise UserError(
                f"{source}: holds {member.filename!r}, which leads out of the folder; it is not unpacked"
            )
    names = {member: PurePosixPath(member.filename).name for member in everything if not member.is_dir()}
    members = [member for member, name in names.items() if fnmatch(name, PARTS[part])]
    members = [member for member in members if not names[member].startswith(".")]
    if not members:
        raise UserError(f"{source}: holds no {PARTS[part]}")
    return members


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _extract(
    source: Path, members: Sequence[zipfile.ZipInfo], folder: Path, advance: Callable[[], None]
) -> None:
    """Extract files into `folder`, and verify their checksums."""
    with zipfile.ZipFile(source) as archive:
        for member in members:
            target = folder / PurePosixPath(member.filename).name
            try:
                with open(target, "xb") as file:
                    for block in _blocks(source, archive, member):
                        file.write(block)
            except FileExistsError:
                raise UserError(f"{source}: holds {target.name} twice") from None
            except OSError as error:
                raise UserError(f"{target}: cannot be written ({error.strerror or error})") from None
            advance()


def _blocks(source: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the content of a file in the zip `source`, in blocks.

    Raises:
        UserError: the zip is damaged there.
    """
    try:
        with archive.open(member) as compressed:
            while block := compressed.read(_READ_BYTES):
                yield block
    except _DAMAGE as error:
        raise _damaged(source, f"{member.filename}: {error}") from None


def _damaged(source: Path, reason: str) -> UserError:
    return UserError(f"{source}: not a whole zip ({reason}); download it again")
