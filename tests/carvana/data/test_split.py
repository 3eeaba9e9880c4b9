"""The fingerprint of a split."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from carvana.data.dataset import train_samples
from carvana.data.split import Split


@pytest.fixture
def split(data: Path, tmp_path: Path) -> Split:
    """Four cars in two folds."""
    photos = train_samples(data)
    cars = sorted({photo.car for photo in photos})
    table = tmp_path / "two.csv"
    table.write_text("car,fold\n" + "".join(f"{car},{n % 2}\n" for n, car in enumerate(cars)))
    return Split.read(photos, table)


def test_the_fingerprint_depends_on_photos_masks_and_folds(split: Split) -> None:
    before, photo = split.fingerprint(), split.photos[5]
    found = [before, replace(split, folds=1 - split.folds).fingerprint()]
    for path in (photo.path, photo.mask):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        found.append(split.fingerprint())
        path.write_bytes(content)
    assert len(set(found)) == 4
    os.utime(photo.path, (0, 0))
    assert split.fingerprint() == before
