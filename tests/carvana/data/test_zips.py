"""Unpacking of the competition's zips: complete, damaged and unsafe ones."""

import filecmp
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.data import disk
from carvana.data.dataset import car_mask_areas, train_samples
from carvana.data.zips import (
    PARTS,
    find_sources,
    missing_parts,
    remove_unfinished,
    space_of,
    unpack,
    unpack_found,
)
from carvana.errors import UserError


def _zip(path: Path, *names: str, data: bytes = b"\xff" * 3000) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, data)
    return path


def test_notebook_input_is_unpacked_to_a_data_folder(zips: Path, rendered: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert missing_parts(data) == list(PARTS)
    unpack_found(data, [tmp_path / "none", zips])
    assert missing_parts(data) == []
    for part in ("train", "train_masks", "test"):
        comparison = filecmp.dircmp(rendered / part, data / part)
        assert (comparison.left_only, comparison.right_only, comparison.diff_files) == ([], [], [])
    assert car_mask_areas(data).equals(car_mask_areas(rendered))
    assert sorted(path.name for path in data.iterdir()) == sorted(PARTS)


def test_zips_in_the_data_folder_are_kept_or_removed(zips: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(zips, tmp_path / "data"))
    unpack_found(data, [data])
    assert len(list(data.glob("*.zip"))) == len(PARTS)
    shutil.rmtree(data / "train")
    unpack_found(data, [data], drop=True)
    assert not (data / "train.zip").exists()
    assert (data / "test.zip").exists()  # it was not unpacked
    assert len(train_samples(data)) == 64


def test_existing_parts_are_unchanged(zips: Path, data: Path) -> None:
    photo = train_samples(data)[0].path
    photo.write_bytes(b"mine")
    unpack_found(data, [zips])
    assert photo.read_bytes() == b"mine"


def test_large_photos_replace_the_others(tmp_path: Path) -> None:
    _zip(tmp_path / "train.zip", "train/a_01.jpg")
    _zip(tmp_path / "train_hq.zip", "train_hq/a_01.jpg", data=b"large")
    sources = find_sources(tmp_path, [tmp_path], hq=True)
    assert sources == {"train": tmp_path / "train_hq.zip"}
    unpack(sources["train"], "train", tmp_path)
    assert (tmp_path / "train" / "a_01.jpg").read_bytes() == b"large"


def test_uncompressed_table_is_copied(rendered: Path, tmp_path: Path) -> None:
    shutil.copy(rendered / "metadata.csv", tmp_path / "metadata.csv")
    unpack_found(tmp_path / "data", [tmp_path])
    assert (tmp_path / "data" / "metadata.csv").read_bytes() == (rendered / "metadata.csv").read_bytes()


@pytest.mark.parametrize(
    "name", ["../a_01.jpg", "/tmp/a_01.jpg", "train/../../a_01.jpg", r"..\a_01.jpg", r"C:\a_01.jpg"]
)
def test_paths_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    source = _zip(tmp_path / "train.zip", "train/b_01.jpg", name)
    with pytest.raises(UserError, match="which leads out of the folder; it is not unpacked"):
        unpack(source, "train", tmp_path / "in" / "data")
    assert sorted(tmp_path.rglob("*.jpg")) == []


@given(st.lists(st.text("./\\:aA~ ", max_size=8), min_size=1, max_size=3))
def test_no_name_in_a_zip_writes_outside_the_folder(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        source = _zip(root / "train.zip", *(f"{name}.jpg" for name in dict.fromkeys(names)))
        with suppress(UserError):
            unpack(source, "train", root / "in" / "data")
        written = [path for path in root.rglob("*") if path.is_file() and path != source]
        assert all(path.parent == root / "in" / "data" / "train" for path in written)


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("train/a_01.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="leads out of the folder"):
        unpack(tmp_path / "train.zip", "train", tmp_path / "data")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _bit_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncated, _bit_flipped])
def test_damaged_zip_leaves_no_files(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    source = _zip(tmp_path / "train.zip", "train/a_01.jpg", "train/b_01.jpg")
    damage(source)
    data = tmp_path / "data"
    with pytest.raises(UserError, match=r"train\.zip: not a whole zip .*; download it again"):
        unpack(source, "train", data)
    assert not data.exists() or list(data.iterdir()) == []
    assert source.exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("position", [40, 60, 200, 900, -10])
def test_damage_within_any_compression_leaves_no_files(tmp_path: Path, method: int, position: int) -> None:
    source, noise = tmp_path / "train.zip", np.random.default_rng(0).bytes(3000)
    with zipfile.ZipFile(source, "w", method) as archive:
        archive.writestr("train/a_01.jpg", noise)
    data = bytearray(source.read_bytes())
    data[position : position + 3] = b"\xff\xfe\xfd"[: len(data[position : position + 3])]
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"train\.zip: (not a whole zip|holds)"):
        unpack(source, "train", tmp_path / "data")
    assert not (tmp_path / "data" / "train").exists()


def _encrypted(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def _of_unknown_method(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 97
    path.write_bytes(data)


def _page(path: Path) -> None:
    path.write_text("<html>Sign in to download</html>")


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("change", [_encrypted, _of_unknown_method, _page, _nothing])
def test_zips_that_cannot_be_unpacked_are_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    for part, name in (("train", "train/a_01.jpg"), ("metadata.csv", "metadata.csv")):
        source = _zip(tmp_path / f"{part}.zip", name)
        change(source)
        with pytest.raises(UserError, match=rf"{source.name}: not a whole zip .*; download it again"):
            unpack(source, part, tmp_path / "data")


@given(st.data())
def test_a_damaged_zip_is_unpacked_or_refused(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        source = Path(folder) / "train.zip"
        method = data.draw(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
        with zipfile.ZipFile(source, "w", method) as archive:
            archive.writestr("train/a_01.jpg", b"photo" * 20)
            archive.writestr("train/b_01.jpg", b"")
        content = bytearray(source.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        source.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            space_of("train", source)
            unpack(source, "train", Path(folder) / "data")
        except UserError as error:
            assert "train.zip: " in str(error)


def test_zip_without_the_parts_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.zip: holds no \*\.jpg"):
        unpack(_zip(tmp_path / "train.zip", "letter.txt"), "train", tmp_path / "data")
    with pytest.raises(UserError, match=r"train\.zip: holds a_01\.jpg twice"):
        unpack(_zip(tmp_path / "train.zip", "x/a_01.jpg", "y/a_01.jpg"), "train", tmp_path / "data")


def test_zips_in_a_read_only_folder_name_the_command_to_use(
    zips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = Path(shutil.copytree(zips, tmp_path / "mount" / "carvana"))
    (tmp_path / "carvana").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: path != mounted)  # as on a read-only mount
    with pytest.raises(UserError) as error:
        unpack_found(mounted, [mounted])
    command = f"./run.sh prepare --zips {mounted} --data carvana-2"
    assert str(error.value) == f"{mounted}: is read-only; `{command}` unpacks the zips into another folder"
    assert sorted(path.name for path in mounted.iterdir()) == sorted(path.name for path in zips.iterdir())
    unpack_found(Path("carvana-2"), [mounted])
    assert missing_parts(Path("carvana-2")) == []


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil._ntuple_diskusage(100, 97, 3)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: full)
    _zip(tmp_path / "train.zip", "train/a_01.jpg")
    with pytest.raises(UserError, match=r"0\.0 GB are free"):
        unpack_found(tmp_path / "data", [tmp_path])
    assert not (tmp_path / "data").exists()


def test_a_folder_with_other_files_is_not_replaced(zips: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "notes.txt").touch()
    with pytest.raises(UserError, match="train: holds other files than photos; move them away"):
        unpack(zips / "train.zip", "train", tmp_path)


def test_what_a_killed_command_left_is_removed(data: Path) -> None:
    before = sorted(data.parent.rglob("*"))
    for left in (data / ".part-train-0a1b2c3d", data.parent / ".part-data-0a1b2c3d"):
        left.mkdir()
        (left / "half").touch()
    remove_unfinished(data)
    assert sorted(data.parent.rglob("*")) == before
