"""The work of a session, whose self-test and commands are scripts of this file."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carvana.kaggle.manifest import MANIFEST, Manifest, read_manifest
from carvana.kaggle.session import work
from carvana.kaggle.session.attached import COMPETITION
from carvana.kaggle.session.settings import SessionSettings

SETTINGS = SessionSettings(
    step="train",
    recipe="fast",
    recipe_argument="fast",
    folds=(0, 1),
    fold_argument="all",
    key="key",
    hours=1.0,
    parts=("sample_submission.csv",),
    table="folds/two.csv",
)
TRAIN = """
import sys
from pathlib import Path
runs = Path(sys.argv[sys.argv.index("--runs") + 1]) / "fast"
for fold, name in enumerate(["scores.csv", "checkpoint.npz"]):
    (runs / f"fold-{fold}").mkdir(parents=True)
    (runs / f"fold-{fold}" / name).write_text(name)
"""
"""A training that finishes fold 0, and only begins fold 1."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as `/kaggle`, on a machine with one GPU and a self-test that passes."""
    competition = tmp_path / "kaggle" / "input" / COMPETITION
    competition.mkdir(parents=True)
    (competition / "sample_submission.csv").write_text("img,rle_mask\n")
    (tmp_path / "kaggle" / "working").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nvidia-smi").write_text("#!/bin/sh\necho Tesla T4\n")
    (programs / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    package = tmp_path / "stub"
    for name in ("carvana", "kaggle", "session"):
        package /= name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    (package / "self_test.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    return tmp_path / "kaggle"


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of signals, which a session changes, are restored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(root: Path, script: str) -> Manifest:
    """Run a session whose training is a script, and return the manifest of its output."""
    code = root.parent / "code"
    (code / "src").mkdir(parents=True)
    (code / "src" / "train.py").write_text(script)
    work.Session(SETTINGS, code, root, "Python 3.12").run(time.monotonic(), "bundle")
    return read_manifest(root / "working" / MANIFEST)


def test_the_folds_before_a_failed_one_are_saved(root: Path, capsys: pytest.CaptureFixture) -> None:
    manifest = run(root, f"{TRAIN}\nsys.exit(3)")
    assert (manifest.finished, manifest.failure) == (False, "train.py failed with exit status 3")
    assert list(manifest.files) == ["runs/fast/fold-0/scores.csv"]
    assert list(manifest.state) == ["state.tar"]
    assert "error: train.py failed with exit status 3" in capsys.readouterr().out


def test_a_session_that_is_ended_while_it_saves_its_output(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = work.publish

    def end_and_publish(*arguments: object, **options: object) -> Manifest:
        os.kill(os.getpid(), signal.SIGTERM)
        return publish(*arguments, **options)

    monkeypatch.setattr(work, "publish", end_and_publish)
    assert run(root, TRAIN).finished


def test_a_session_that_is_ended_while_it_works(root: Path) -> None:
    manifest = run(root, f"{TRAIN}\nimport os, time\nos.kill(os.getppid(), 15)\ntime.sleep(60)")
    assert (manifest.finished, manifest.failure) == (False, "")
    assert list(manifest.files) == ["runs/fast/fold-0/scores.csv"]
