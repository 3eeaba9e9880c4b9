"""The cache of resized photos on disk."""

import os
from pathlib import Path

import numpy as np
import pytest

from carvana.data import images
from carvana.data.batches import ResizedSamples
from carvana.data.cache import DiskCache
from carvana.data.dataset import train_samples


def test_cached_photos_are_not_decoded_again(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = train_samples(rendered)[:3]
    first = [ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))[index] for index in range(3)]
    monkeypatch.setattr(images, "read_mask", None)
    again = ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))
    for index, (photo, mask) in enumerate(first):
        assert np.array_equal(again[index][0], photo)
        assert np.array_equal(again[index][1], mask)


def test_changed_photo_and_other_size_are_not_in_the_cache(data: Path, tmp_path: Path) -> None:
    photo, *_ = train_samples(data)
    cache, pair = DiskCache(tmp_path), (np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8))
    cache.put(photo, (4, 6), pair)
    assert cache.get(photo, (4, 6)) is not None
    assert cache.get(photo, (6, 4)) is None
    os.utime(photo.mask, (0, 0))  # the content counts, not the time
    assert cache.get(photo, (4, 6)) is not None
    times, content = photo.mask.stat(), bytearray(photo.mask.read_bytes())
    content[-5] ^= 1
    photo.mask.write_bytes(content)  # of the same size and time
    os.utime(photo.mask, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cache.get(photo, (4, 6)) is None


def test_damaged_or_deleted_entry_is_computed_again(rendered: Path, tmp_path: Path) -> None:
    photos = train_samples(rendered)[:1]
    photo, mask = ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))[0]
    (file,) = tmp_path.glob("*.npz")
    data = bytearray(file.read_bytes())
    data[700] ^= 1  # a bit of the photo, which only a checksum detects
    for content in (bytes(data), data[:100], b""):
        file.write_bytes(content)
        again = ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))[0]
        assert np.array_equal(again[0], photo)
        assert np.array_equal(again[1], mask)
    file.unlink()
    assert DiskCache(tmp_path).get(photos[0], (32, 48)) is None


def test_size_limit_removes_the_least_recently_used_entries(rendered: Path, tmp_path: Path) -> None:
    photos, size = train_samples(rendered), (10, 100)
    pair = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)  # 4,000 bytes and the header of the file
    earlier = DiskCache(tmp_path, limit=12_000)
    earlier.put(photos[0], size, pair)
    earlier.put(photos[1], size, pair)
    for age, file in enumerate(tmp_path.glob("*.npz")):
        os.utime(file, (1e9 + age, 1e9 + age))
    cache = DiskCache(tmp_path, limit=12_000)
    assert cache.get(photos[0], size) is not None
    for photo in photos[2:6]:
        cache.put(photo, size, pair)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 12_000
    assert [cache.get(photo, size) is not None for photo in photos[:4]] == [True, False, True, False]


def test_entries_used_right_after_the_opening_are_kept(rendered: Path, tmp_path: Path) -> None:
    photos, size = train_samples(rendered), (10, 100)
    pair = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    for number in range(20):  # the kernel's clock ticks 100 to 1,000 times a second
        DiskCache(tmp_path / str(number)).put(photos[0], size, pair)
        cache = DiskCache(tmp_path / str(number), limit=5_000)
        assert cache.get(photos[0], size) is not None
        cache.put(photos[1], size, pair)
        assert cache.get(photos[0], size) is not None


def test_files_may_be_deleted_by_other_processes_at_any_time(data: Path, tmp_path: Path) -> None:
    photo, *_ = train_samples(data)
    small, large = (
        (np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8))
        for height, width in ((4, 6), (8, 12))
    )
    cache = DiskCache(tmp_path, limit=2_000)
    for name in ("gone.npz", ".part-gone.npz"):  # listed by the folder, but missing
        (tmp_path / name).symlink_to("nowhere")
    assert DiskCache(tmp_path).get(photo, (4, 6)) is None
    cache.put(photo, (4, 6), small)
    cache.put(photo, (8, 12), large)  # exceeds the limit
    assert cache.get(photo, (4, 6)) is not None
