"""Download: Kaggle's own client talks HTTP to a stand-in on the loopback."""

import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SRC
from tests.kaggle_stand_in import SIGNATURE, KaggleStandIn, Refusal

from carvana.data import zips as zips_module
from carvana.data.dataset import test_samples as photos_to_predict
from carvana.data.dataset import train_samples
from carvana.data.zips import PARTS, missing_parts
from carvana.errors import UserError
from carvana.kaggle.client import sign_in
from carvana.kaggle.download import download, files_on_kaggle, is_begun
from carvana.kaggle.sources import fill_data_folder


@pytest.fixture
def files(signed_in: KaggleStandIn, zips: Path) -> KaggleStandIn:
    """The competition's files on Kaggle."""
    signed_in.files = {path.name: path.read_bytes() for path in zips.iterdir()}
    return signed_in


def _download(data: Path, **options: bool) -> None:
    api = sign_in()
    download(api, files_on_kaggle(api), data, **options)


def test_an_empty_folder_is_filled(files: KaggleStandIn, tmp_path: Path) -> None:
    data = tmp_path / "data"
    _download(data)
    assert missing_parts(data) == []
    assert (len(train_samples(data)), len(photos_to_predict(data))) == (64, 32)
    assert sorted(path.name for path in data.iterdir()) == sorted(PARTS)


def test_a_missing_part_is_downloaded_and_its_zip_kept(files: KaggleStandIn, data: Path) -> None:
    shutil.rmtree(data / "test")
    _download(data, keep=True)
    assert files.requests.count("DownloadDataFile") == 1
    assert (data / "test.zip").read_bytes() == files.files["test.zip"]
    assert len(photos_to_predict(data)) == 32


def test_the_large_photos(files: KaggleStandIn, data: Path) -> None:
    shutil.rmtree(data / "train")
    files.files["train_hq.zip"] = files.files.pop("train.zip")
    _download(data, hq=True)
    assert len(train_samples(data)) == 64


def test_an_unzipped_table_is_downloaded(files: KaggleStandIn, rendered: Path, data: Path) -> None:
    (data / "metadata.csv").unlink()
    del files.files["metadata.csv.zip"]
    files.files["metadata.csv"] = (rendered / "metadata.csv").read_bytes()
    _download(data)
    assert (data / "metadata.csv").read_bytes() == files.files["metadata.csv"]


@pytest.fixture
def large(files: KaggleStandIn, zips: Path, data: Path, tmp_path: Path) -> KaggleStandIn:
    """A data folder without test photos, whose zip has some megabytes; the client saves one megabyte at a time."""
    shutil.rmtree(data / "test")
    with zipfile.ZipFile(shutil.copy(zips / "test.zip", tmp_path / "large.zip"), "a") as packed:
        packed.writestr("test/film.mov", np.random.default_rng(0).bytes(3_000_000))
    files.files["test.zip"] = (tmp_path / "large.zip").read_bytes()
    return files


def test_an_interrupted_download_is_resumed_by_the_client(
    large: KaggleStandIn, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client's pauses between its attempts
    large.cut_download_at = 2_500_000
    _download(data)
    assert large.ranges == [f"bytes={2 << 20}-"]
    assert len(photos_to_predict(data)) == 32


def test_the_download_of_a_killed_command_is_resumed(large: KaggleStandIn, data: Path) -> None:
    large.cut_download_at, large.hang = 2_500_000, True
    command = [sys.executable, SRC / "prepare.py", "--data", data, "--source", "kaggle"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    partial = data / ".kaggle" / "test.zip" / "test.zip"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size == 2 << 20) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert is_begun(data)
    done = subprocess.run([*command[:4], "--source", "auto"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert large.ranges == [f"bytes={2 << 20}-"]
    assert len(photos_to_predict(data)) == 32
    assert not is_begun(data)


def test_a_download_that_was_unpacked_before_a_kill_is_removed(files: KaggleStandIn, data: Path) -> None:
    left = data / ".kaggle" / "train.zip" / "train.zip"
    left.parent.mkdir(parents=True)
    left.write_bytes(files.files["train.zip"])
    shutil.rmtree(data / "test")
    _download(data)
    assert files.requests.count("DownloadDataFile") == 1
    assert not is_begun(data)
    left.parent.mkdir(parents=True)  # of the last part
    assert fill_data_folder(data)
    assert not is_begun(data)


def test_two_downloads_into_one_folder(large: KaggleStandIn, data: Path) -> None:
    command = [sys.executable, SRC / "prepare.py", "--data", data, "--source", "kaggle"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[1].decode()[-900:], process.returncode) for process in both] == [
        ("", 0)
    ] * 2
    assert large.requests.count("DownloadDataFile") == 1
    assert len(photos_to_predict(data)) == 32
    assert not is_begun(data)


RULES = "You must accept this competition's rules before you'll be able to download files."


@pytest.mark.parametrize(
    ("request_name", "refusal", "message"),
    [
        (
            "DownloadDataFile",
            Refusal(403, RULES),
            r"download train\.zip: Kaggle refuses \(403 You must .*; accept the rules",
        ),
        ("download", Refusal(500), r"download train\.zip: Kaggle has an internal error \(500"),
        (
            "ListDataFiles",
            Refusal(404, "Not found"),
            r"list the competition's files: Kaggle refuses \(404 Not found\)",
        ),
    ],
)
def test_each_refusal_has_a_message_of_its_own(
    files: KaggleStandIn, tmp_path: Path, request_name: str, refusal: Refusal, message: str
) -> None:
    files.refusals[request_name] = refusal
    with pytest.raises(UserError, match=message) as error:
        _download(tmp_path / "data")
    assert "\n" not in str(error.value)
    assert SIGNATURE not in str(error.value)
    assert "train" in missing_parts(tmp_path / "data")


def test_a_broken_zip_is_downloaded_again(files: KaggleStandIn, data: Path) -> None:
    shutil.rmtree(data / "test")
    whole = files.files["test.zip"]
    files.files["test.zip"] = whole[:-30]
    with pytest.raises(UserError, match=r"test\.zip: not a whole zip"):
        _download(data)
    assert missing_parts(data) == ["test"]
    files.files["test.zip"] = whole
    _download(data)
    assert len(photos_to_predict(data)) == 32


def test_a_file_that_kaggle_lacks_is_reported(files: KaggleStandIn, tmp_path: Path) -> None:
    del files.files["test.zip"]
    with pytest.raises(UserError, match=r"test\.zip: not among the competition's files; Kaggle has metadata"):
        _download(tmp_path / "data")


def test_the_disk_space_is_checked_first(
    files: KaggleStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil._ntuple_diskusage(100, 97, 3)
    monkeypatch.setattr(zips_module.shutil, "disk_usage", lambda path: full)
    with pytest.raises(UserError, match="GB are needed there"):
        _download(tmp_path / "data")
    assert "DownloadDataFile" not in files.requests
