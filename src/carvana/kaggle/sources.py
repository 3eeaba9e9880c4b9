"""Fill a data folder with the competition's files: from zips that lie at hand, else from Kaggle."""

from pathlib import Path

from carvana import console
from carvana.data.zips import NOTEBOOK_INPUTS, missing_parts, unpack_found
from carvana.errors import UserError
from carvana.kaggle.client import sign_in
from carvana.kaggle.download import download, files_on_kaggle, is_begun


def fill_data_folder(
    data: Path,
    *,
    zips: Path | None = None,
    hq: bool = False,
    keep_zips: bool | None = None,
    must: bool = False,
) -> bool:
    """Unpack what a data folder lacks from zips, and download the rest from Kaggle.

    Args:
        data: the data folder.
        zips: another folder with the competition's zips; by default a Kaggle notebook's input.
        hq: take the large photos.
        keep_zips: whether zips are kept once they are unpacked; None keeps those that were there before.
        must: download. Without it that is done for a folder that was empty, or that a download was begun into,
            and only where there are credentials.

    Returns:
        False where the folder is still empty.

    Raises:
        UserError: a zip is not whole, the disk is too small, or Kaggle refuses.
    """
    if data.exists() and not data.is_dir():
        raise UserError(f"{data}: is not a folder")
    if hq and "train" not in missing_parts(data):
        console.message(f"{data}: has its photos already; for the large ones choose another --data")
    wanted = must or is_begun(data) or is_empty(data)
    unpack_found(data, [data, *([zips] if zips else NOTEBOOK_INPUTS)], hq=hq, drop=keep_zips is False)
    if not (wanted and missing_parts(data)):
        return True
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
    """Whether a folder holds nothing, or is not there."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
