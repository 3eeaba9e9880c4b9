"""The competition's zips, whole and broken, safe and not."""

import filecmp
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.data import zips as zips_module
from carvana.data.dataset import car_mask_areas, train_samples
from carvana.data.zips import PARTS, check_space, find_sources, missing_parts, unpack, unpack_found
from carvana.errors import UserError


def _zip(path: Path, *names: str, data: bytes = b"\xff" * 3000) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, data)
    return path


def test_a_notebooks_input_becomes_a_data_folder(zips: Path, rendered: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert missing_parts(data) == list(PARTS)
    unpack_found(data, [tmp_path / "none", zips])
    assert missing_parts(data) == []
    for part in ("train", "train_masks", "test"):
        same = filecmp.dircmp(rendered / part, data / part)
        assert (same.left_only, same.right_only, same.diff_files) == ([], [], [])
    assert car_mask_areas(data).equals(car_mask_areas(rendered))
    assert sorted(path.name for path in data.iterdir()) == sorted(PARTS)


def test_zips_in_the_data_folder_are_kept_or_dropped(zips: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(zips, tmp_path / "data"))
    unpack_found(data, [data])
    assert len(list(data.glob("*.zip"))) == len(PARTS)
    shutil.rmtree(data / "train")
    unpack_found(data, [data], drop=True)
    assert not (data / "train.zip").exists()
    assert (data / "test.zip").exists()  # nothing was missing of it
    assert len(train_samples(data)) == 64


def test_parts_that_are_there_stay(zips: Path, data: Path) -> None:
    photo = train_samples(data)[0].path
    photo.write_bytes(b"mine")
    unpack_found(data, [zips])
    assert photo.read_bytes() == b"mine"


def test_the_large_photos_lie_where_the_others_would(tmp_path: Path) -> None:
    _zip(tmp_path / "train.zip", "train/a_01.jpg")
    _zip(tmp_path / "train_hq.zip", "train_hq/a_01.jpg", data=b"large")
    sources = find_sources(tmp_path, [tmp_path], hq=True)
    assert sources == {"train": tmp_path / "train_hq.zip"}
    unpack(sources["train"], "train", tmp_path)
    assert (tmp_path / "train" / "a_01.jpg").read_bytes() == b"large"


def test_a_table_that_is_not_zipped_is_taken_as_it_is(rendered: Path, tmp_path: Path) -> None:
    shutil.copy(rendered / "metadata.csv", tmp_path / "metadata.csv")
    unpack_found(tmp_path / "data", [tmp_path])
    assert (tmp_path / "data" / "metadata.csv").read_bytes() == (rendered / "metadata.csv").read_bytes()


@pytest.mark.parametrize(
    "name", ["../a_01.jpg", "/tmp/a_01.jpg", "train/../../a_01.jpg", r"..\a_01.jpg", r"C:\a_01.jpg"]
)
def test_no_path_leaves_the_folder(tmp_path: Path, name: str) -> None:
    source = _zip(tmp_path / "train.zip", "train/b_01.jpg", name)
    with pytest.raises(UserError, match="which leads out of the folder; it is not unpacked"):
        unpack(source, "train", tmp_path / "in" / "data")
    assert sorted(tmp_path.rglob("*.jpg")) == []


@given(st.lists(st.text("./\\:aA~ ", max_size=8), min_size=1, max_size=3))
def test_whatever_its_names_nothing_is_written_elsewhere(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        source = _zip(root / "train.zip", *(f"{name}.jpg" for name in dict.fromkeys(names)))
        with suppress(UserError):
            unpack(source, "train", root / "in" / "data")
        written = [path for path in root.rglob("*") if path.is_file() and path != source]
        assert all(path.parent == root / "in" / "data" / "train" for path in written)


def test_no_link_is_unpacked(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("train/a_01.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="leads out of the folder"):
        unpack(tmp_path / "train.zip", "train", tmp_path / "data")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _bit_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncated, _bit_flipped])
def test_a_broken_zip_leaves_nothing_behind(tmp_path: Path, damage: object) -> None:
    source = _zip(tmp_path / "train.zip", "train/a_01.jpg", "train/b_01.jpg")
    damage(source)
    data = tmp_path / "data"
    with pytest.raises(UserError, match=r"train\.zip: not a whole zip .*; download it again"):
        unpack(source, "train", data)
    assert not data.exists() or list(data.iterdir()) == []
    assert source.exists()


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.zip: holds no \*\.jpg"):
        unpack(_zip(tmp_path / "train.zip", "letter.txt"), "train", tmp_path / "data")
    with pytest.raises(UserError, match=r"train\.zip: holds a_01\.jpg twice"):
        unpack(_zip(tmp_path / "train.zip", "x/a_01.jpg", "y/a_01.jpg"), "train", tmp_path / "data")


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_space(tmp_path / "not" / "there", 1000)
    with pytest.raises(UserError, match=r"data: 1000000\.0 GB are needed there and .* GB are free"):
        check_space(tmp_path / "data", 1e15)
    full = shutil._ntuple_diskusage(100, 97, 3)
    monkeypatch.setattr(zips_module.shutil, "disk_usage", lambda path: full)
    _zip(tmp_path / "train.zip", "train/a_01.jpg")
    with pytest.raises(UserError, match=r"0\.0 GB are free"):
        unpack_found(tmp_path / "data", [tmp_path])
    assert not (tmp_path / "data").exists()
