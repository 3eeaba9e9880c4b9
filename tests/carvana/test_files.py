"""Files are complete or absent, whoever writes them at once, and errors of the system name them."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from tests.damage import run_at_once

from carvana.errors import UserError
from carvana.files import (
    atomic_folder,
    atomic_path,
    delete_partial,
    describe_os_error,
    read_json,
    remove_leftovers,
    write_gzipped,
    write_json,
)


def _write_many(path: Path, letter: str) -> None:
    for _ in range(200):
        with atomic_path(path) as part:
            part.write_text(letter * 1000)
        text = path.read_text()
        assert text == text[0] * 1000, "two writers mixed"


def test_processes_that_write_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    run_at_once(_write_many, [(path, letter) for letter in "abc"])
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic_path(path) as part:
        part.write_text("half")
        raise ValueError("stop")
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]
    assert path.read_text() == "old"


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".part-x.txt").write_text("left by a killed process")
    with atomic_path(tmp_path / "x.txt") as part:
        part.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.txt", "new")]


@pytest.mark.parametrize("target", ["other/shared.csv", "other/blob", "missing/shared.csv"])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, target: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "shared.csv").write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    for text in ("first", "second"):
        with atomic_path(link) as part:
            assert part.parent == (tmp_path / target).parent
            assert part.suffix == ".csv"
            part.write_text(text)
        assert link.is_symlink()
        assert (tmp_path / target).read_text() == text
    assert [path.name for path in tmp_path.rglob(".part-*")] == []


def test_what_a_killed_process_left_behind_a_link_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "link.csv").symlink_to("other/shared.csv")
    left = tmp_path / "other" / ".part-shared.csv"
    left.write_text("left by a killed process")
    delete_partial(tmp_path / "link.csv")
    assert not left.exists()


def test_an_error_names_the_link(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link.csv").symlink_to("file/shared.csv")
    with pytest.raises(UserError, match=r"link\.csv: cannot be written"), atomic_path(tmp_path / "link.csv"):
        pass


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.csv").symlink_to("pipe")
    with (
        pytest.raises(UserError, match=r"link\.csv: cannot be written \(not a regular file\)"),
        atomic_path(tmp_path / "link.csv"),
    ):
        pass
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "choose a folder"), (errno.EIO, "Input/output error")],
)
def test_an_error_of_the_system_names_the_file(tmp_path: Path, number: int, hint: str) -> None:
    path = tmp_path / "x.csv.gz"
    with pytest.raises(UserError, match=rf"x\.csv\.gz: cannot be written .*{hint}"), write_gzipped(path):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("place", ["file/x.txt", "folder", "/proc/x.txt", "n" * 300])
def test_a_place_where_no_file_can_be_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be written"), atomic_path(tmp_path / place) as part:
        part.touch()


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "out.txt"):
        (tmp_path / "in.txt").read_text()
    assert describe_os_error(caught.value) == f"{tmp_path / 'in.txt'}: No such file or directory"


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_json({"table": "five", "folds": [0, 1]}, tmp_path / "x.json")
    assert read_json(tmp_path / "x.json", {"table": str, "folds": list}) == {"table": "five", "folds": [0, 1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole JSON file"),
        (b"\xff\xfe", "not a whole JSON file"),
        (b"{", "not a whole JSON file"),
        (b"[" * 100_000, "not a whole JSON file"),
        (b"[1]", "holds list; expected an object with table"),
        (b"{}", "table is None; expected str"),
        (json.dumps({"table": 5}).encode(), "table is 5; expected str"),
    ],
)
def test_other_json_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "metadata.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"metadata.json: {message}") as caught:
        read_json(path, {"table": str})
    assert "\n" not in str(caught.value)


def _write_folder_and_die(path: Path) -> None:
    with atomic_folder(path) as part:
        (part / "half").touch()
        os._exit(9)


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a [1]"
    process = multiprocessing.get_context("spawn").Process(target=_write_folder_and_die, args=(path,))
    process.start()
    process.join()
    (left,) = tmp_path.iterdir()
    with atomic_folder(path) as part:
        assert not left.exists()
        remove_leftovers(path)  # what is being written is left alone
        (part / "whole").touch()
        path.mkdir()
    assert list(tmp_path.rglob("*")) == [path, path / "whole"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_folder(tmp_path / "a") as part:
        (part / "half").touch()
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(UserError, match="a: is not an empty folder"), atomic_folder(path):
        path.mkdir()
        (path / "mine").touch()
    assert list(tmp_path.rglob("*")) == [path, path / "mine"]
