"""Disk space for photos and for the cache of a training."""

import shutil
from pathlib import Path

import pytest

from carvana.data import disk
from carvana.data.cache import LIMIT
from carvana.data.disk import check_space, check_space_of_data
from carvana.errors import UserError

GB = 1_000_000_000


@pytest.fixture
def free_5_gb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that does not exist yet, on a disk with 5 GB free, which is that of `runs`, too."""
    usage = shutil._ntuple_diskusage(10 * GB, 5 * GB, 5 * GB)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    monkeypatch.chdir(tmp_path)
    return Path("new") / "data"


def test_a_folder_that_does_not_exist_is_on_the_disk_above_it(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "there", 1000)
    with pytest.raises(UserError, match=r"data: 1000000\.0 GB are needed there and .* GB are free"):
        check_space(tmp_path / "data", 1e15)
    with pytest.raises(UserError, match="or choose another --runs"):
        check_space(tmp_path / "runs", 1e15, "--runs")


def test_the_cache_of_the_training_photos_is_counted(free_5_gb: Path) -> None:
    check_space_of_data(free_5_gb, {"train": 0.4 * GB})
    check_space_of_data(free_5_gb, {"test": 4.9 * GB})
    with pytest.raises(UserError) as error:
        check_space_of_data(free_5_gb, {"train": 0.4 * GB, "test": 0.4 * GB})
    assert str(error.value) == (
        "new/data: 5.2 GB are needed there (0.8 for the photos, 4.4 for the cache of a training) and 5.0 GB are"
        " free; make room, or choose another --data"
    )
    with pytest.raises(
        UserError, match=f"{(2 * GB + LIMIT) / GB:.1f} GB are needed"
    ):  # the cache has a limit
        check_space_of_data(free_5_gb, {"train": 2 * GB})


def test_zips_are_counted_and_downloads_that_exist_are_not(free_5_gb: Path) -> None:
    with pytest.raises(UserError, match=r"5\.4 GB"):
        check_space_of_data(free_5_gb, {"test": 4.9 * GB}, 0.5 * GB)
    check_space_of_data(free_5_gb, {"test": 5.4 * GB}, -0.5 * GB)
