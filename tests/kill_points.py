"""Kill a script just before each of its file operations, and run it again undisturbed.

A process that has imported a script and the modules that it needs forks once per run, which saves the seconds that
TensorFlow takes to import. File operations are found by Python's audit events, so no function is replaced: creating,
opening for writing, renaming and deleting files and folders below the working folder. Files that C libraries write
by themselves are not among them.

    with ForkServer("predict", ["carvana.submission.predict_test"]) as server:
        for operation, folder in killed_and_repeated(server, arguments, prepared, tmp_path):
            assert contents(folder) == expected, operation
"""

import importlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]

_CHANGING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILE_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
"""Audit events of file operations besides `open`; `os.replace` raises os.rename, and `os.unlink` os.remove."""


@dataclass(frozen=True)
class Run:
    """A finished run of a script."""

    status: int
    """Exit status, or the negative number of the signal that ended it."""
    output: str
    """Standard output and standard error."""
    operation: str
    """The file operation before which it was killed; "" if it was not."""


class ForkServer:
    """A process that runs a script in forks of itself."""

    def __init__(self, script: str, preload: Sequence[str] = ()) -> None:
        """Start the process.

        Args:
            script: the script's name, e.g. `predict`.
            preload: modules that the script imports late, e.g. `carvana.submission.predict_test`.
        """
        path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, __file__, script, *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )

    def __enter__(self) -> Self:
        """Return the server, which is stopped at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the process."""
        self._process.communicate()

    def run(self, arguments: Sequence[object], cwd: Path, kill_before: int | None = None) -> Run:
        """Run the script once.

        Args:
            arguments: the script's arguments.
            cwd: the working folder.
            kill_before: number of the file operation, from 0, before which the run is killed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "kill_before": kill_before}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Run(**json.loads(self._process.stdout.readline()))


def killed_and_repeated(
    server: ForkServer, arguments: Sequence[object], prepared: Path, scratch: Path
) -> Iterator[tuple[str, Path]]:
    """Kill a script at each of its file operations in turn, and run it again undisturbed.

    Args:
        server: runs the script.
        arguments: the script's arguments; paths are relative to the working folder.
        prepared: a copy of this folder is the working folder of each pair of runs.
        scratch: the folder for the copies.

    Yields:
        The operation before which the first run was killed, and the working folder after the second run, which is
        deleted when the next one is drawn.
    """
    for number in itertools.count():
        folder = Path(shutil.copytree(prepared, scratch / "killed", symlinks=True))
        killed = server.run(arguments, folder, kill_before=number)
        if killed.operation:
            assert killed.status == -signal.SIGKILL, killed
            repeated = server.run(arguments, folder)
            assert repeated.status == 0, f"killed before {killed.operation}: {repeated.output}"
            yield f"{number}: {killed.operation}", folder
        shutil.rmtree(folder)
        if not killed.operation:
            assert killed.status == 0, killed.output
            return


def contents(
    folder: Path,
    ignored: Collection[str] = (),
    normalized: Mapping[str, Callable[[bytes], object]] = {},
) -> dict[str, object]:
    """Return the content of each file below a folder by its relative path; None for a folder.

    Args:
        folder: the folder.
        ignored: patterns of file names that are left out, e.g. of lock files.
        normalized: functions that remove what differs from run to run, e.g. times, by the pattern of the file's name.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if any(fnmatch(path.name, pattern) for pattern in ignored):
            continue
        content = path.read_bytes() if path.is_file() else None
        for pattern, normalize in normalized.items():
            if content is not None and fnmatch(path.name, pattern):
                found[str(path.relative_to(folder))] = normalize(content)
                break
        else:
            found[str(path.relative_to(folder))] = content
    return found


def _serve(script: str, preload: Sequence[str]) -> None:
    """Run the script in a fork for each line of standard input, and print a line of JSON about each run."""
    for module in (script, *preload):
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(_run_in_fork(script, **json.loads(line))), flush=True)


def _run_in_fork(script: str, arguments: list[str], cwd: str, kill_before: int | None) -> dict[str, Any]:
    output, operation = os.memfd_create("output"), os.memfd_create("operation")
    child = os.fork()
    if not child:
        os.chdir(cwd)
        for stream in (1, 2):
            os.dup2(output, stream)
        if kill_before is not None:
            sys.addaudithook(_killer(Path(cwd).resolve(), kill_before, operation))
        os._exit(_run(script, arguments))
    _, status = os.waitpid(child, 0)
    texts = {"output": _text(output), "operation": _text(operation)}
    return {"status": os.waitstatus_to_exitcode(status), **texts}


def _run(script: str, arguments: list[str]) -> int:
    """Run a script's command, and return its exit status."""
    from carvana import commandline

    try:
        commandline.command(getattr(importlib.import_module(script), script))(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 70  # no status of a script
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _killer(folder: Path, kill_before: int, report: int) -> Callable[[str, tuple], None]:
    """Return an audit hook that kills the process before its n-th file operation below a folder."""
    numbers = itertools.count()

    def hook(event: str, arguments: tuple) -> None:
        paths = _changed_paths(event, arguments)
        inside = [path for path in paths if path.is_relative_to(folder) and path != folder]
        if inside and next(numbers) == kill_before:
            names = " -> ".join(str(path.relative_to(folder)) for path in inside)
            os.write(report, f"{event} {names}".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _changed_paths(event: str, arguments: tuple) -> list[Path]:
    """Return the paths that an audit event is about to change."""
    if event == "open":
        path, _, flags = arguments
        changes = isinstance(path, str | bytes) and flags & _CHANGING_FLAGS
        return [_absolute(path, -1)] if changes else []
    if event == "os.rename":
        source, target, source_folder, target_folder = arguments
        return [_absolute(source, source_folder), _absolute(target, target_folder)]
    if event == "os.mkdir" and os.path.isdir(arguments[0]):
        return []  # `exist_ok`
    if event in _FILE_EVENTS:
        folder = arguments[-1] if isinstance(arguments[-1], int) and event != "os.truncate" else -1
        return [_absolute(arguments[0], folder)] if isinstance(arguments[0], str | bytes) else []
    return []


def _absolute(path: str | bytes, folder: int) -> Path:
    """Return the absolute path of a name in the folder of an open descriptor, -1 for the working folder."""
    start = os.getcwd() if folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
    return Path(os.path.normpath(os.path.join(start, os.fsdecode(path))))


def _text(file: int) -> str:
    size = os.fstat(file).st_size
    text = os.pread(file, size, 0).decode(errors="replace")
    os.close(file)
    return text


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
