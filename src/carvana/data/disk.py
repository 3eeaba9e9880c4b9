"""Disk space that photos, and the cache of resized photos that a training writes, need."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from carvana.data.cache import LIMIT
from carvana.errors import UserError

_RUNS = Path("runs")
"""Default folder of the runs, and so of the cache."""
_CACHE_RATIO = 11.0
"""Size of the recipe `fast`'s cache relative to the competition's JPEG files (99 kB each): 4 bytes for each pixel of
192x288 and 384x576."""


def check_space(folder: Path, needed: float, option: str = "--data") -> None:
    """Check the space on the disk of a folder, which need not exist.

    Args:
        folder: the folder.
        needed: bytes that will be written.
        option: the option that chooses another folder, for the message.

    Raises:
        UserError: the disk has less space free.
    """
    _check(folder, needed, "", option)


def check_space_of_data(data: Path, parts: Mapping[str, float], further: float = 0) -> None:
    """Check the space for parts of a data folder and, if it is on the same disk, for the cache of their training.

    The environment is not counted: it is there when this runs, and `set_up.py` has checked the space for it.

    Args:
        data: the data folder; it need not exist.
        parts: size in bytes of each part that will be written.
        further: further bytes that the folder needs, such as those of zips; negative for bytes that become free.

    Raises:
        UserError: the disk has less space free.
    """
    written = sum(parts.values()) + further
    same_disk = _existing(data).stat().st_dev == _existing(_RUNS).stat().st_dev
    cache = min(_CACHE_RATIO * parts.get("train", 0), LIMIT) if same_disk else 0
    shares = f" ({written / 1e9:.1f} for the photos, {cache / 1e9:.1f} for the cache of a training)"
    _check(data, written + cache, shares if cache else "")


def _check(folder: Path, needed: float, shares: str, option: str = "--data") -> None:
    free = shutil.disk_usage(_existing(folder)).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.1f} GB are needed there{shares} and {free / 1e9:.1f} GB are free;"
            f" make room, or choose another {option}"
        )


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
