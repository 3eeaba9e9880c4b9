"""A cache of resized photos and masks on disk, so that the next training does not decode them again.

Entries that are missing, damaged or deleted are computed again from the photos.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from carvana.arrays import read_cached_arrays
from carvana.data.dataset import Sample, content_digest
from carvana.errors import UserError
from carvana.files import atomic_path, sha256_of_text

LIMIT = 8 * 2**30
"""Default size limit of a cache, in bytes."""

Pair = tuple[np.ndarray, np.ndarray]
"""A photo (height, width, 3) and the coverage of its mask (height, width), both uint8, 0..255."""


class DiskCache:
    """A folder of resized photos and masks, which threads and processes may share."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        """Open the cache in `folder`, whose files take at most `limit` bytes together."""
        self._folder, self._limit = folder, limit
        self._opened_at = time.time()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._used = sum(size for _, size, _ in self._files())

    def get(self, sample: Sample, size: tuple[int, int]) -> Pair | None:
        """Return a photo and its mask at `size` (height, width), or None if no valid entry exists."""
        path = self._path(sample, size)
        arrays = read_cached_arrays(path, ["photo", "mask"])
        if arrays is None:
            return None
        with suppress(OSError):  # deleted meanwhile, or a read-only folder
            _mark_used(path)
        photo, mask = arrays
        return photo, mask

    def put(self, sample: Sample, size: tuple[int, int], pair: Pair) -> None:
        """Store a photo and its mask, unless the cache is full of entries that this process has used."""
        path, needed = self._path(sample, size), sum(array.nbytes for array in pair) + 1024
        with self._lock:
            if self._used + needed > self._limit and not self._make_room(needed):
                return
            self._used += needed
        try:
            with atomic_path(path) as part:
                np.savez(part, photo=pair[0], mask=pair[1])
                _mark_used(part)
        except UserError:  # a full disk: the photos can be decoded again
            return

    def _path(self, sample: Sample, size: tuple[int, int]) -> Path:
        content = content_digest(file for file in (sample.path, sample.mask) if file)
        return self._folder / f"{sha256_of_text(repr((content, size)))[:32]}.npz"

    def _make_room(self, needed: int) -> bool:
        """Delete the least recently used entries, but none used since this process opened the cache."""
        files = sorted(self._files())
        self._used = sum(size for _, size, _ in files)
        for used, size, file in files:
            if self._used + needed <= self._limit:
                return True
            if used >= self._opened_at:
                return False
            self._used -= size
            file.unlink(missing_ok=True)
        return self._used + needed <= self._limit

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield last use, bytes and path of each complete file; another process may delete files meanwhile."""
        for file in self._folder.glob("[!.]*.npz"):
            with suppress(FileNotFoundError):
                stat = file.stat()
                yield stat.st_mtime, stat.st_size, file  # the time orders the files by use, and no more


def _mark_used(file: Path) -> None:
    """Set the time of an entry's last use, see `DiskCache._make_room`.

    It is that of this process's clock. The kernel's own times of files lag it by up to 10 ms, so that an entry would
    seem to be older than the cache that has just used it.
    """
    now = time.time()
    os.utime(file, (now, now))
