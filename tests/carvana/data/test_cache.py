"""Resized photos on disk."""

import os
from pathlib import Path

import numpy as np
import pytest

from carvana.data import images
from carvana.data.batches import ResizedSamples
from carvana.data.cache import DiskCache
from carvana.data.dataset import train_samples


def test_photos_are_decoded_once(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = train_samples(rendered)[:3]
    first = [ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))[index] for index in range(3)]
    monkeypatch.setattr(images, "read_mask", None)
    again = ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))
    for index, (photo, mask) in enumerate(first):
        assert np.array_equal(again[index][0], photo)
        assert np.array_equal(again[index][1], mask)


def test_a_changed_photo_and_another_size_are_not_mixed_up(data: Path, tmp_path: Path) -> None:
    photo, *_ = train_samples(data)
    cache, pair = DiskCache(tmp_path), (np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8))
    cache.put(photo, (4, 6), pair)
    assert cache.get(photo, (4, 6)) is not None
    assert cache.get(photo, (6, 4)) is None
    os.utime(photo.mask)
    assert cache.get(photo, (4, 6)) is None


def test_a_broken_or_deleted_file_is_read_anew(rendered: Path, tmp_path: Path) -> None:
    photos = train_samples(rendered)[:1]
    photo, mask = ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))[0]
    (file,) = tmp_path.glob("*.npz")
    data = bytearray(file.read_bytes())
    data[700] ^= 1  # a bit within the photo: only a checksum can tell
    for content in (bytes(data), data[:100], b""):
        file.write_bytes(content)
        again = ResizedSamples(photos, (32, 48), cache=DiskCache(tmp_path))[0]
        assert np.array_equal(again[0], photo)
        assert np.array_equal(again[1], mask)
    file.unlink()
    assert DiskCache(tmp_path).get(photos[0], (32, 48)) is None


def test_it_stays_within_its_bounds_and_drops_what_was_longest_unused(rendered: Path, tmp_path: Path) -> None:
    photos, size = train_samples(rendered), (10, 100)
    pair = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)  # 4,000 bytes and what a file adds
    yesterday = DiskCache(tmp_path, limit=12_000)
    yesterday.put(photos[0], size, pair)
    yesterday.put(photos[1], size, pair)
    for age, file in enumerate(tmp_path.glob("*.npz")):
        os.utime(file, (1e9 + age, 1e9 + age))
    today = DiskCache(tmp_path, limit=12_000)
    assert today.get(photos[0], size) is not None
    for photo in photos[2:6]:
        today.put(photo, size, pair)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 12_000
    assert [today.get(photo, size) is not None for photo in photos[:4]] == [True, False, True, False]


def test_files_of_other_processes_may_vanish_at_any_time(data: Path, tmp_path: Path) -> None:
    photo, *_ = train_samples(data)
    small, large = (
        (np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8))
        for height, width in ((4, 6), (8, 12))
    )
    cache = DiskCache(tmp_path, limit=2_000)
    for name in ("gone.npz", ".part-gone.npz"):  # in the list, and not there when looked at
        (tmp_path / name).symlink_to("nowhere")
    assert DiskCache(tmp_path).get(photo, (4, 6)) is None
    cache.put(photo, (4, 6), small)
    cache.put(photo, (8, 12), large)  # wants room
    assert cache.get(photo, (4, 6)) is not None
