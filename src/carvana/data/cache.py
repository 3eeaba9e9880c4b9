"""Resized photos and masks on disk, so that the next training need not decode them again.

A cache: whatever is missing, broken or deleted is read from the photos once more.
"""

import hashlib
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from carvana.data.dataset import Sample
from carvana.files import atomic_path

LIMIT = 8 * 2**30
"""Bytes that a cache may take."""

Pair = tuple[np.ndarray, np.ndarray]
"""A photo (height, width, 3) and its mask (height, width), both uint8."""


class DiskCache:
    """A folder of resized photos; threads and processes may share it."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        """Use `folder`, in which all files together take `limit` bytes at most."""
        self._folder, self._limit = folder, limit
        self._began = time.time()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._used = sum(size for _, size, _ in self._files())

    def get(self, photo: Sample, size: tuple[int, int]) -> Pair | None:
        """A photo and its mask at `size` (height, width), where they are here and whole."""
        path = self._path(photo, size)
        try:
            with np.load(path) as stored:  # a zip: reading it checks its sums
                pair = stored["photo"], stored["mask"]
            os.utime(path)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        return pair

    def put(self, photo: Sample, size: tuple[int, int], pair: Pair) -> None:
        """Keep a photo and its mask, where there is room beside what this process has used itself."""
        path, needed = self._path(photo, size), sum(array.nbytes for array in pair) + 1024
        with self._lock:
            if self._used + needed > self._limit and not self._make_room(needed):
                return
            self._used += needed
        try:
            with atomic_path(path) as part:
                np.savez(part, photo=pair[0], mask=pair[1])
        except OSError:  # a full disk, or another process that was first
            return

    def _path(self, photo: Sample, size: tuple[int, int]) -> Path:
        files = [(str(file.resolve()), file.stat().st_mtime_ns) for file in (photo.path, photo.mask)]
        return self._folder / f"{hashlib.sha256(repr((files, size)).encode()).hexdigest()[:32]}.npz"

    def _make_room(self, needed: int) -> bool:
        """Delete what was longest unused, but nothing used since this process began."""
        files = sorted(self._files())
        self._used = sum(size for _, size, _ in files)
        for used, size, file in files:
            if self._used + needed <= self._limit:
                return True
            if used >= self._began:
                return False
            self._used -= size
            file.unlink(missing_ok=True)
        return self._used + needed <= self._limit

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Last use, bytes and path of each file that is whole and was not deleted by another process meanwhile."""
        for file in self._folder.glob("[!.]*.npz"):
            with suppress(FileNotFoundError):
                stat = file.stat()
                yield stat.st_mtime, stat.st_size, file
