"""The competition's zips: found, checked as whole, and unpacked safely into a data folder."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from carvana import console
from carvana.errors import UserError
from carvana.files import atomic_path

PARTS = {
    "train": "*.jpg",
    "train_masks": "*_mask.gif",
    "test": "*.jpg",
    "train_masks.csv": "train_masks.csv",
    "metadata.csv": "metadata.csv",
    "sample_submission.csv": "sample_submission.csv",
}
"""What a data folder has, by name, and which files of its zip belong to it."""

NOTEBOOK_INPUTS = tuple(
    Path("/kaggle/input") / place / "carvana-image-masking-challenge" for place in ("", "competitions")
)
"""Where a Kaggle notebook finds the competition's zips; it cannot write there."""

_HQ = ("train", "test")
_BLOCK = 4096
"""Bytes that a file system hands out at a time."""


def missing_parts(data: Path) -> list[str]:
    """The parts that a data folder lacks."""
    return [part for part, files in PARTS.items() if not _is_there(data / part, files)]


def zip_name(part: str, hq: bool) -> str:
    """The competition's zip of a part, e.g. `train.zip`; with `hq` that of the large photos, where there is one."""
    return f"{part}_hq.zip" if hq and part in _HQ else f"{part}.zip"


def find_sources(data: Path, folders: Iterable[Path], hq: bool) -> dict[str, Path]:
    """For each part that `data` lacks its zip in one of `folders`, as far as there is one.

    A CSV file that lies in another folder as it is counts, too.
    """
    found: dict[str, Path] = {}
    for part in missing_parts(data):
        names = [zip_name(part, hq)] + [part] * part.endswith(".csv")
        places = [folder / name for folder in folders for name in names]
        source = next((place for place in places if place.is_file()), None)
        if source is not None:
            found[part] = source
    return found


def check_space(folder: Path, needed: float) -> None:
    """Raise UserError where the disk of `folder`, which need not be there yet, has less than `needed` bytes free."""
    there = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.1f} GB are needed there and {free / 1e9:.1f} GB are free;"
            " make room, or choose another --data"
        )


def unpack_found(data: Path, folders: Iterable[Path], *, hq: bool = False, drop: bool = False) -> None:
    """Unpack what a data folder lacks from the zips that lie in `folders`; other parts are left as they are.

    Args:
        data: the data folder.
        folders: searched in this order.
        hq: take the zips of the large photos.
        drop: remove a zip of `data` itself once it is unpacked.

    Raises:
        UserError: a zip is not whole or not safe, or the disk is too small.
    """
    sources = find_sources(data, folders, hq)
    check_space(data, sum(space_of(part, source) for part, source in sources.items()))
    for part, source in sources.items():
        unpack(source, part, data)
        if drop and source.parent == data:
            source.unlink()


def space_of(part: str, source: Path) -> int:
    """The bytes that a part takes once it is unpacked.

    Raises:
        UserError: as `unpack`.
    """
    if source.suffix != ".zip":
        return source.stat().st_size
    return sum(-(-member.file_size // _BLOCK) * _BLOCK for member in _members(source, part))


def unpack(source: Path, part: str, data: Path) -> None:
    """Unpack the zip of a part (or copy its CSV file) into a data folder; the part appears when all of it is right.

    Raises:
        UserError: it is no whole zip, has nothing of the part, or holds a path that leaves the folder.
    """
    if not zipfile.is_zipfile(source) and source.suffix != ".zip":
        with atomic_path(data / part) as whole:
            shutil.copyfile(source, whole)
        return
    members = _members(source, part)
    whole = data / f".part-{part}"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    try:
        with console.progress(f"unpack {source.name}", len(members), "files") as advance:
            _extract(source, members, whole, advance)
        _put_in_place(whole if PARTS[part] != part else whole / part, data / part)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _is_there(path: Path, files: str) -> bool:
    return path.is_file() if files == path.name else any(path.glob(files))


def _members(source: Path, part: str) -> Sequence[zipfile.ZipInfo]:
    """The files of a zip that belong to a part, whatever folder of the zip they lie in."""
    try:
        with zipfile.ZipFile(source) as packed:
            everything = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError(f"{source}: not a whole zip ({error}); download it again") from None
    for member in everything:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename or _is_link(member):
            raise UserError(
                f"{source}: holds {member.filename!r}, which leads out of the folder; it is not unpacked"
            )
    names = {member: PurePosixPath(member.filename).name for member in everything if not member.is_dir()}
    wanted = [member for member, name in names.items() if fnmatch(name, PARTS[part])]
    wanted = [member for member in wanted if not names[member].startswith(".")]
    if not wanted:
        raise UserError(f"{source}: holds no {PARTS[part]}")
    return wanted


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _extract(
    source: Path, members: Sequence[zipfile.ZipInfo], folder: Path, advance: Callable[[], None]
) -> None:
    """Write the members' bytes, whose checksums are held against the zip's on the way."""
    with zipfile.ZipFile(source) as packed:
        for member in members:
            target = folder / PurePosixPath(member.filename).name
            try:
                with packed.open(member) as bytes_of, open(target, "xb") as file:
                    shutil.copyfileobj(bytes_of, file, 1 << 20)
            except FileExistsError:
                raise UserError(f"{source}: holds {target.name} twice") from None
            except OSError as error:
                raise UserError(f"{target}: cannot be written ({error.strerror or error})") from None
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
                raise UserError(
                    f"{source}: not a whole zip ({member.filename}: {error}); download it again"
                ) from None
            advance()


def _put_in_place(whole: Path, place: Path) -> None:
    if place.is_dir():  # there, but without any of its files: see missing_parts
        try:
            place.rmdir()
        except OSError:
            raise UserError(f"{place}: holds other files than photos; move them away") from None
    whole.rename(place)
