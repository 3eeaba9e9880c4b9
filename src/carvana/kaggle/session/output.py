"""Output of a notebook's session: finished files, the state of unfinished ones, and last the manifest."""

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from carvana.kaggle.manifest import FileEntry, Manifest
from carvana.kaggle.session.settings import SessionSettings
from carvana.runs import RunDir

RUNS, SUBMISSIONS = "runs", "submissions"
"""Folders of the output, and of the folder in which a session works."""
STATE = "state.tar"
"""Archive of what an unfinished session continues from, without compression."""
SAMPLE = "data/sample_submission.csv"
"""Table with the order of a submission's rows, which `submit` needs."""


def run_dirs(settings: SessionSettings, work: Path) -> list[RunDir]:
    """Return the runs of a training session, in the folder in which it works."""
    return [RunDir(work / RUNS / settings.recipe / f"fold-{fold}") for fold in settings.folds]


def publish(
    settings: SessionSettings,
    work: Path,
    output: Path,
    *,
    finished: bool,
    bundle: str,
    machine: str,
    failure: str = "",
) -> Manifest:
    """Copy a session's results to the output, and write their manifest.

    Args:
        settings: the session's settings.
        work: the folder in which the session works.
        output: the folder that Kaggle keeps.
        finished: whether the work is done.
        bundle: SHA-256 of the bundle.
        machine: description of the machine.
        failure: the reason why a command failed, or "".
    """
    results = _results(settings, work, finished)
    for path in results:
        target = output / path.relative_to(work)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    state = {}
    if not finished:
        _archive(_unfinished(settings, work), work, output / STATE)
        state[STATE] = FileEntry.of(output / STATE)
    names = [path.relative_to(work).as_posix() for path in results]
    files = {name: FileEntry.of(output / name) for name in sorted(names)}
    manifest = Manifest(settings.key, bundle, finished, files, state, machine, failure)
    manifest.write(output)
    return manifest


def _results(settings: SessionSettings, work: Path, finished: bool) -> list[Path]:
    """Return the finished files: of a training those of each finished fold, of a prediction all of them."""
    if settings.step == "train":
        folders = [run.folder for run in run_dirs(settings, work) if run.finished]
        return [path for folder in folders for path in _visible_files(folder)]
    return [*_visible_files(work / SUBMISSIONS), work / SAMPLE] if finished else []


def _unfinished(settings: SessionSettings, work: Path) -> list[Path]:
    """Return the folders that an unfinished session continues from."""
    if settings.step == "train":
        return [run.folder for run in run_dirs(settings, work) if run.folder.exists() and not run.finished]
    return [work / SUBMISSIONS]


def _visible_files(folder: Path) -> Iterable[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _archive(folders: Iterable[Path], work: Path, path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for folder in folders:
            archive.add(folder, folder.relative_to(work).as_posix())
