"""Download of the competition's files from Kaggle, one at a time, resumed where it was interrupted, and unpacked."""

import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from carvana import console
from carvana.data.disk import check_space, check_space_of_data
from carvana.data.zips import PARTS, missing_parts, space_of, unpack, zip_name
from carvana.errors import UserError
from carvana.kaggle.client import COMPETITION, COMPETITION_HINTS, translate_errors
from carvana.locks import file_lock

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

_DOWNLOADS = ".kaggle"
"""Folder of unfinished downloads within a data folder."""
_UNPACKED_RATIO = {".csv": 4.0}
"""Approximate size of a CSV file relative to its zip."""
_UNPACKED_RATIO_PHOTOS = 1.05
"""Approximate size on disk of photos and masks relative to their zip, which hardly shrinks them."""
_MB = 1_000_000


def is_begun(data: Path) -> bool:
    """Return whether a data folder holds an unfinished download."""
    return (data / _DOWNLOADS).is_dir()


def files_on_kaggle(api: "KaggleApi") -> dict[str, int]:
    """List the competition's files: their names, and their sizes in bytes.

    Raises:
        UserError: Kaggle does not return the list.
    """
    files: dict[str, int] = {}
    page: str | None = None
    while page != "":
        with translate_errors("list the competition's files", COMPETITION_HINTS):
            response = api.competition_list_files(COMPETITION, page_token=page, page_size=200)
        files |= {file.name: file.total_bytes for file in response.files}
        page = response.next_page_token or ""
    return files


def download(
    api: "KaggleApi", sizes: dict[str, int], data: Path, *, hq: bool = False, keep: bool = False
) -> None:
    """Download and unpack what a data folder lacks, resuming interrupted downloads.

    If another process downloads into the folder, wait for it.

    Args:
        api: the signed-in client.
        sizes: the result of `files_on_kaggle`.
        data: the data folder.
        hq: download the large photos.
        keep: keep the zips in the data folder.

    Raises:
        UserError: a file is not on Kaggle, the disk is too small, Kaggle refuses, or the connection is interrupted.
    """
    names = {part: _name_on_kaggle(part, sizes, hq) for part in missing_parts(data)}
    _check_space_for_all(data, {part: sizes[name] for part, name in names.items()}, keep)
    lock = data / ".kaggle.lock"
    with file_lock(lock, console):
        missing = missing_parts(data)  # another process may have downloaded some of them meanwhile
        names = {part: name for part, name in names.items() if part in missing}
        _remove_unpacked(data, names.values())
        if names:
            total = sum(sizes[name] for name in names.values())
            console.message(
                f"{data}: downloading {', '.join(names.values())}, {total / 1e9:.2f} GB, from Kaggle"
            )
        for part, name in names.items():
            file = _fetch(api, name, sizes[name], data / _DOWNLOADS / name)
            check_space(data, space_of(part, file))
            try:
                unpack(file, part, data)
                if keep and file.suffix == ".zip":
                    file.rename(data / name)
            finally:  # also removes a broken zip, so that the next run downloads it again
                shutil.rmtree(data / _DOWNLOADS / name)
        remove_downloads(data)
        lock.unlink()


def remove_downloads(data: Path) -> None:
    """Remove the folder of downloads from a data folder that lacks nothing."""
    shutil.rmtree(data / _DOWNLOADS, ignore_errors=True)


def _remove_unpacked(data: Path, names: Collection[str]) -> None:
    """Remove downloads that were unpacked, but not removed because the process was killed, given those to come."""
    for folder in (data / _DOWNLOADS).glob("*/"):
        if folder.name not in names:
            shutil.rmtree(folder)


def _check_space_for_all(data: Path, zip_sizes: dict[str, int], keep: bool) -> None:
    """Raise UserError where the disk is too small for all parts, given the zip size in bytes of each."""
    unpacked = {
        part: size * _UNPACKED_RATIO.get(Path(part).suffix, _UNPACKED_RATIO_PHOTOS)
        for part, size in zip_sizes.items()
    }
    zips = sum(zip_sizes.values()) if keep else max(zip_sizes.values(), default=0)
    downloaded = sum(file.stat().st_size for file in (data / _DOWNLOADS).glob("*/*"))
    check_space_of_data(data, unpacked, zips - downloaded)


def _name_on_kaggle(part: str, sizes: dict[str, int], hq: bool) -> str:
    names = [zip_name(part, hq), *([part] if PARTS[part] == part else [])]
    for name in names:
        if name in sizes:
            return name
    raise UserError(f"{names[0]}: not among the competition's files; Kaggle has {', '.join(sizes)}")


def _fetch(api: "KaggleApi", name: str, size: int, folder: Path) -> Path:
    """Download a file, or the rest of it, into a folder of its own, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            api.competition_download_file(COMPETITION, name, path=str(folder), quiet=True)
        except BaseException as error:
            failures.append(error)

    # The client's own progress bar has no plain-text form, so it downloads in a thread while this one reports.
    thread = threading.Thread(target=work, daemon=True)
    total = -(-size // _MB)
    with console.progress(f"download {name}", total, "MB") as advance:
        thread.start()
        reported = 0
        while thread.is_alive():
            thread.join(0.1)
            done = sum(file.stat().st_size for file in _downloaded(folder)) // _MB
            advance(done - reported)
            reported = done
        if not failures:
            advance(total - reported)  # the last fraction of a megabyte
    with translate_errors(f"download {name}", COMPETITION_HINTS):
        if failures:
            raise failures[0]
    (file,) = _downloaded(folder)
    return file


def _downloaded(folder: Path) -> list[Path]:
    """List what the client has written, under any name that Kaggle's storage gave it, without its marker files."""
    return [file for file in folder.iterdir() if not file.name.endswith(".kaggle-partial")]
