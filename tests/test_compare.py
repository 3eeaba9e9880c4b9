"""The script compare.py."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from carvana.evaluation import errors
from carvana.runs import RunDir
from carvana.submission.ledger import Ledger
from carvana.tables import write_csv

from .scripts import SRC, error_of, output_of

_COMPARE = """
import sys
import carvana.commandline, compare
try:
    carvana.commandline.run(compare.compare)
finally:
    print("imported:", {"keras", "tensorflow", "matplotlib", "kaggle", "requests", "cv2"} & set(sys.modules))
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger of one submission in the folder of the test."""
    ledger = Ledger(tmp_path / "submissions" / "ledger.csv")
    ledger.add({"submission": "mine.csv.gz", "recipe": "fast", "sha256": 64 * "a"})
    return ledger


def _write_run(run: RunDir) -> None:
    """Write a finished run whose refinement helped one photo and hurt another."""
    run.folder.mkdir(parents=True)
    run.scores.write_text("img,dice\n")
    photos = [
        (f"00087a6bd4dc_{angle:02d}.jpg", name, dice, np.array(counts))
        for angle, name, dice, counts in (
            (1, "coarse", 0.97, [7000, 1000, 900, 500, 300, 300]),
            (1, "refined", 0.99, [1500, 500, 0, 0, 0, 0]),
            (2, "coarse", 0.98, [9000, 0, 0, 0, 0, 0]),
            (2, "refined", 0.975, [9000, 0, 0, 0, 0, 1000]),
        )
    ]
    write_csv(errors.error_table(photos), run.errors)


@pytest.mark.parametrize("content", [b"", b"<!doctype html>\n<title>My notes</title>\n", b"\xff\xfe"])
def test_the_report_replaces_an_older_one_and_no_other_file(
    tmp_path: Path, ledger: Ledger, content: bytes
) -> None:
    options = ["--ledger", ledger.path, "--html", "index.html"]
    page = tmp_path / "index.html"
    page.write_bytes(content)
    message = error_of("compare", *options, cwd=tmp_path)
    assert message == "error: index.html: exists, and is not a report; move it, or choose another name\n"
    assert page.read_bytes() == content
    page.unlink()
    for _ in range(2):
        assert "index.html: written" in output_of("compare", *options, cwd=tmp_path)


def test_wrong_pixels_by_distance_fit_80_columns(tmp_path: Path, ledger: Ledger) -> None:
    for recipe in ("efficientnetb3", "fast"):
        _write_run(RunDir(tmp_path / "runs" / recipe / "fold-0"))
    _, title, text = output_of("compare", cwd=tmp_path).partition("Where the wrong pixels lie")
    lines = (title + text).splitlines()
    rows = [line.replace("│", "").split() for line in lines if "│" in line]
    assert rows[0] == ["efficientnetb3", "coarse", "0.975000", "9500", "84", "5", "5", "3", "2", "2"]
    assert rows[3] == ["fast", "refined", "0.982500", "6000", "88", "4", "0", "0", "0", "8"]
    assert max(map(len, lines)) <= 80
    assert lines[-2:] == [
        "fast: refinement helped 00087a6bd4dc_01.jpg most: 0.970000 -> 0.990000",
        "fast: refinement hurt 00087a6bd4dc_02.jpg most: 0.980000 -> 0.975000",
    ]


def test_errors_of_finished_runs_are_shown_before_the_first_submission(tmp_path: Path) -> None:
    _write_run(RunDir(tmp_path / "runs" / "fast" / "fold-0"))
    text = output_of("compare", cwd=tmp_path)
    assert "submissions/ledger.csv: holds no submission yet" in text
    assert "refinement helped 00087a6bd4dc_01.jpg" in text


def test_runs_without_their_errors_give_no_table(tmp_path: Path, ledger: Ledger) -> None:
    run = RunDir(tmp_path / "elsewhere" / "fast" / "fold-0")
    _write_run(run)
    run.errors.unlink()
    assert "wrong pixels" not in output_of("compare", "--runs", "elsewhere", cwd=tmp_path)
    assert "wrong pixels" not in output_of("compare", cwd=tmp_path)  # without a folder of runs


def test_a_malformed_table_of_errors_is_reported(tmp_path: Path, ledger: Ledger) -> None:
    run = RunDir(tmp_path / "runs" / "fast" / "fold-0")
    _write_run(run)
    run.errors.write_text("img,dice\n")
    assert "runs/fast/fold-0/errors.csv: has no column 'map'" in error_of("compare", cwd=tmp_path)


def test_without_a_report_no_heavy_module_is_imported(tmp_path: Path, ledger: Ledger) -> None:
    _write_run(RunDir(tmp_path / "runs" / "fast" / "fold-0"))
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SRC)!r})\n{_COMPARE}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine.csv.gz" in done.stdout
    assert "imported: set()" in done.stdout


def test_a_report_that_is_no_html_file_is_refused(tmp_path: Path) -> None:
    text = error_of("compare", "--html", "r.txt", cwd=tmp_path)
    assert text == "error: --html r.txt: the report is an HTML page; end its name in .html\n"
    assert not (tmp_path / "r.txt").exists()
