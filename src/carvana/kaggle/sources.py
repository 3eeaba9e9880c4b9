"""Filling of a data folder with the competition's files: from zips on this machine, else from Kaggle."""

from pathlib import Path

from carvana import console
from carvana.data.zips import find_sources, missing_parts, unpack_found, zip_name
from carvana.errors import UserError
from carvana.kaggle.client import sign_in
from carvana.kaggle.download import download, files_on_kaggle, is_begun, remove_downloads
from carvana.kaggle.session.attached import INPUTS, competition_folders


def fill_data_folder(
    data: Path,
    *,
    zips: Path | None = None,
    hq: bool = False,
    keep_zips: bool | None = None,
    must: bool = False,
    may_sign_in: bool = True,
) -> bool:
    """Unpack what a data folder lacks from zips, and download the rest from Kaggle.

    Args:
        data: the data folder.
        zips: another folder with the competition's zips; by default the input folder of a Kaggle notebook.
        hq: use the large photos.
        keep_zips: whether to keep zips after unpacking; None keeps those that existed before.
        must: download in any case. By default a folder is filled from Kaggle only if it is empty or holds an
            unfinished download, and an empty one only where there are credentials.
        may_sign_in: whether an empty folder may be filled from Kaggle.

    Returns:
        False if the folder is still empty.

    Raises:
        UserError: a zip is not complete, the disk is too small, or Kaggle refuses.
    """
    if data.exists() and not data.is_dir():
        raise UserError(f"{data}: is not a folder")
    if hq and "train" not in missing_parts(data):
        console.message(f"{data}: already has its photos; for the large photos choose another --data")
    if zips and missing_parts(data) and not find_sources(data, [data, zips], hq):
        needed = ", ".join(zip_name(part, hq) for part in missing_parts(data))
        raise UserError(f"--zips {zips}: holds none of the files that {data} lacks: {needed}")
    may_download = must or is_begun(data) or (is_empty(data) and may_sign_in)
    unpack_found(
        data, [data, *([zips] if zips else competition_folders(INPUTS))], hq=hq, drop=keep_zips is False
    )
    if not missing_parts(data):
        remove_downloads(data)
        return True
    if not may_download:
        return not is_empty(data)
    try:
        api = sign_in()
        sizes = files_on_kaggle(api)
    except UserError as reason:
        if must or not is_empty(data):
            raise
        console.message(f"Not from Kaggle: {reason}")
        return False
    download(api, sizes, data, hq=hq, keep=bool(keep_zips))
    return True


def is_empty(folder: Path) -> bool:
    """Return whether a folder is empty or does not exist."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
