"""The record of the files that were written to a folder."""

import os
from pathlib import Path

import pytest

from carvana.inference.output_record import OutputRecord


class Killed(BaseException):
    """The end of the process, just before a file gets its name."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.png"


def _record(file: Path) -> OutputRecord:
    """Return the record as the next process reads it."""
    return OutputRecord(file.with_name("record.jsonl"))


def _kill_before_rename(monkeypatch: pytest.MonkeyPatch, file: Path, content: bytes, source: str) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("os.replace", _die)
        _record(file).write(file, content, source)


def _die(*_: object) -> None:
    raise Killed


def test_a_written_file_is_current_and_may_be_replaced(file: Path) -> None:
    assert _record(file).may_replace(file)
    assert not _record(file).is_current(file, "photo")
    _record(file).write(file, b"1", "photo")
    assert file.read_bytes() == b"1"
    assert _record(file).is_current(file, "photo")
    assert not _record(file).is_current(file, "another photo")
    assert _record(file).may_replace(file)


def test_a_file_of_others_may_not_be_replaced(file: Path) -> None:
    file.write_bytes(b"of others")
    assert not _record(file).may_replace(file)
    file.unlink()
    _record(file).write(file, b"1", "photo")
    file.write_bytes(b"edited")
    assert not _record(file).may_replace(file)
    assert _record(file).is_current(file, "photo")
    file.unlink()
    assert not _record(file).is_current(file, "photo")
    file.mkdir()
    assert not _record(file).may_replace(file)
    file.rmdir()
    file.symlink_to("nowhere")
    assert not _record(file).may_replace(file)


def test_a_killed_write_claims_no_file_of_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _kill_before_rename(monkeypatch, file, b"1", "photo")
    assert not _record(file).is_current(file, "photo")
    assert _record(file).may_replace(file)
    file.write_bytes(b"of others")
    assert not _record(file).may_replace(file)


def test_a_killed_write_does_not_lose_the_file_before_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _record(file).write(file, b"1", "photo")
    _kill_before_rename(monkeypatch, file, b"2", "another photo")
    for source in ("photo", "another photo"):
        assert not _record(file).is_current(file, source)
    assert _record(file).may_replace(file)
    record = _record(file)
    record.compact()
    assert _record(file).may_replace(file)
    record.write(file, b"2", "another photo")
    record.compact()
    assert _record(file).is_current(file, "another photo")
    file.write_bytes(b"1")  # of the first photo: the compact record has forgotten it
    assert not _record(file).may_replace(file)


def _write_folder(folder: Path, text: str) -> None:
    with _record(folder).replace_folder(folder, "model") as part:
        (part / "inner").mkdir(parents=True)
        (part / "inner" / "a.txt").write_text(text)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    for text in ("first", "second"):
        assert _record(folder).may_replace(folder)
        _write_folder(folder, text)
        assert [path.name for path in tmp_path.iterdir() if path.name != "record.jsonl"] == ["x"]
        assert (folder / "inner" / "a.txt").read_text() == text
    (folder / "inner" / "mine.txt").touch()
    assert not _record(folder).may_replace(folder)


def test_a_folder_of_others_may_not_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert not _record(tmp_path / "x").may_replace(tmp_path / "x")


@pytest.mark.parametrize("renames", [0, 1])
def test_a_killed_replacement_of_a_folder_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    folder, rename, left = tmp_path / "x", os.replace, iter(range(renames))
    _write_folder(folder, "first")

    def die_at_last(*paths: Path) -> None:
        rename(*paths) if next(left, None) is not None else _die()

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("os.replace", die_at_last)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # a killed process tidies nothing
        _write_folder(folder, "second")
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".")]) == 1 + renames
    assert _record(folder).may_replace(folder)
    _write_folder(folder, "second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.jsonl", "x"]
    assert (folder / "inner" / "a.txt").read_text() == "second"


def test_an_incomplete_line_is_left_out(file: Path) -> None:
    _record(file).write(file, b"1", "photo")
    with open(file.with_name("record.jsonl"), "a") as text:
        text.write('{"file": "y.png", "sha')
    other = file.with_name("z.png")
    _record(file).write(other, b"2", "photo")
    assert _record(file).is_current(file, "photo")
    assert _record(file).is_current(other, "photo")


def test_a_compact_record_is_the_same_in_any_order(tmp_path: Path) -> None:
    texts = []
    for names in (["a", "b", "c"], ["c", "a", "b", "a"]):
        record = OutputRecord(tmp_path / "record.jsonl")
        for name in names:
            record.write(tmp_path / name, b"1", "photo")
        record.compact()
        texts.append((tmp_path / "record.jsonl").read_text())
        (tmp_path / "record.jsonl").unlink()
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == 3
