"""The download from Kaggle: part by part, resumed where it was cut, and unpacked as it comes."""

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from carvana import console
from carvana.data.zips import PARTS, check_space, missing_parts, space_of, unpack, zip_name
from carvana.errors import UserError
from carvana.kaggle.client import COMPETITION, translate_errors

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

_BEGUN = ".kaggle"
"""The folder within a data folder in which downloads grow."""
_UNPACKED = {".csv": 4.0}
"""How much larger a CSV file is than its zip, about; photos and masks hardly get smaller by being zipped."""
_MB = 1_000_000


def is_begun(data: Path) -> bool:
    """Whether a download into the data folder was begun and has not come to its end."""
    return (data / _BEGUN).is_dir()


def files_on_kaggle(api: "KaggleApi") -> dict[str, int]:
    """The competition's files: names, and sizes in bytes.

    Raises:
        UserError: Kaggle does not give the list.
    """
    files: dict[str, int] = {}
    page: str | None = None
    while page != "":
        with translate_errors("list the competition's files"):
            shown = api.competition_list_files(COMPETITION, page_token=page, page_size=200)
        files |= {file.name: file.total_bytes for file in shown.files}
        page = shown.next_page_token or ""
    return files


def download(
    api: "KaggleApi", sizes: dict[str, int], data: Path, *, hq: bool = False, keep: bool = False
) -> None:
    """Download what a data folder lacks, and unpack it. What was cut off goes on from there.

    Args:
        api: signed in.
        sizes: as `files_on_kaggle` gives them.
        data: the data folder.
        hq: take the large photos.
        keep: keep the zips, in the data folder.

    Raises:
        UserError: a file is not on Kaggle, the disk is too small, Kaggle refuses, or the connection was cut.
    """
    wanted = {part: _name_on_kaggle(part, sizes, hq) for part in missing_parts(data)}
    total = sum(sizes[name] for name in wanted.values())
    unpacked = sum(
        sizes[name] * _UNPACKED.get(Path(part).suffix, 1.05)  # a file takes whole blocks of the disk
        for part, name in wanted.items()
    )
    zips = [sizes[name] for name in wanted.values()]
    there = sum(file.stat().st_size for file in (data / _BEGUN).glob("*/*"))
    check_space(data, unpacked + (sum(zips) if keep else max(zips)) - there)
    console.message(f"{data}: downloading {', '.join(wanted.values())}, {total / 1e9:.2f} GB, from Kaggle")
    for part, name in wanted.items():
        source = _fetch(api, name, sizes[name], data / _BEGUN / name)
        check_space(data, space_of(part, source))
        try:
            unpack(source, part, data)
            if keep and source.suffix == ".zip":
                source.rename(data / name)
        finally:  # also of a broken zip, so that the next try downloads it anew
            shutil.rmtree(data / _BEGUN / name)
    (data / _BEGUN).rmdir()


def _name_on_kaggle(part: str, sizes: dict[str, int], hq: bool) -> str:
    names = [zip_name(part, hq), *([part] if PARTS[part] == part else [])]
    for name in names:
        if name in sizes:
            return name
    raise UserError(f"{names[0]}: not among the competition's files; Kaggle has {', '.join(sizes)}")


def _fetch(api: "KaggleApi", name: str, size: int, growing: Path) -> Path:
    """Download a file, or what is left of it, into the folder `growing`."""
    growing.mkdir(parents=True, exist_ok=True)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            api.competition_download_file(COMPETITION, name, path=str(growing), quiet=True)
        except BaseException as error:
            failures.append(error)

    # In a thread, so that its progress is shown as that of all other work; the client's own bar knows no plain lines.
    thread = threading.Thread(target=work, daemon=True)
    total = -(-size // _MB)
    with console.progress(f"download {name}", total, "MB") as advance:
        thread.start()
        shown = 0
        while thread.is_alive():
            thread.join(0.1)
            done = sum(file.stat().st_size for file in _downloads(growing)) // _MB
            advance(done - shown)
            shown = done
        if not failures:
            advance(total - shown)  # the last part of a megabyte
    with translate_errors(f"download {name}"):
        if failures:
            raise failures[0]
    (file,) = _downloads(growing)
    return file


def _downloads(folder: Path) -> list[Path]:
    """What the client has written, whatever name Kaggle's storage gave it; without the client's own marks."""
    return [file for file in folder.iterdir() if not file.name.endswith(".kaggle-partial")]
