"""The work of a session: inputs, self-test, the step's commands until the time is over, and the output."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from carvana import console
from carvana.errors import UserError
from carvana.kaggle.session import inputs
from carvana.kaggle.session.commands import Cancelled, gpus, predict_commands, run_until, train_commands
from carvana.kaggle.session.output import RUNS, SUBMISSIONS, publish, run_dirs
from carvana.kaggle.session.settings import SessionSettings

_MARGIN = 0.1
"""Share of the session's limit that is left for saving the output."""
_MAX_MARGIN_S = 900.0
"""Longest time in seconds that is left for it."""


class Session:
    """A session's folders and settings. It works in `/kaggle/temp`: `/kaggle/working` holds 20 GB only."""

    def __init__(self, settings: SessionSettings, code: Path, root: Path, libraries: str) -> None:
        """Initialize a session.

        Args:
            settings: what to do.
            code: the folder of the unpacked bundle.
            root: the folder `/kaggle`.
            libraries: description of the image's libraries.
        """
        self._settings, self._code = settings, code
        self._inputs, self._output = root / "input", root / "working"
        self._work = root / "temp" / "carvana"
        self._data = self._work / "data"
        self._gpus = gpus()
        self._machine = f"{', '.join(self._gpus) or 'no GPU'}; {libraries}"

    def run(self, started: float, bundle: str) -> None:
        """Do the work until it is finished, fails, or the session's time is over, and write the output.

        Args:
            started: the time of `time.monotonic` at which the session started.
            bundle: SHA-256 of the bundle.

        Raises:
            UserError: there is no GPU, an input is missing, or the self-test failed.
        """
        settings = self._settings
        console.message(f"GPUs: {', '.join(self._gpus) or 'none'}")
        if not self._gpus:
            raise UserError("Kaggle gave this session no GPU; run the same command again")
        signal.signal(signal.SIGTERM, _cancel)
        finished, failure = self._work_until(started + work_seconds(settings.hours))
        outcome = "finished" if finished else "the session's time is over before the work is done"
        console.message(f"error: {failure}" if failure else outcome)
        publish(
            settings,
            self._work,
            self._output,
            finished=finished,
            bundle=bundle,
            machine=self._machine,
            failure=failure,
        )

    def _work_until(self, deadline: float) -> tuple[bool, str]:
        """Do the work until a time of `time.monotonic`.

        Returns:
            Whether it is finished, and the reason why a command failed, or "".
        """
        failure = ""
        try:
            self._prepare_inputs()
            self._self_test()
            try:
                finished = run_until(self._commands(), self._work, deadline)
            except UserError as error:  # what was finished before is published all the same
                finished, failure = False, str(error)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that the output is saved undisturbed
        except Cancelled:
            finished = False
        return finished, failure

    def _prepare_inputs(self) -> None:
        """Fill the data folder, and restore networks and what an earlier version left."""
        self._work.mkdir(parents=True, exist_ok=True)
        (self._work / SUBMISSIONS).mkdir(exist_ok=True)
        settings = self._settings
        source = inputs.competition_folder(self._inputs)
        inputs.prepare_data(source, settings.parts, self._data)
        if settings.networks:
            shutil.copytree(self._code / RUNS, self._work / RUNS, dirs_exist_ok=True)
            for name, path in inputs.find_networks(self._inputs, settings.networks).items():
                shutil.copyfile(path, self._work / RUNS / name)
        if settings.resumes:
            inputs.restore_earlier(self._inputs, settings.key, self._work)

    def _self_test(self) -> None:
        """Run the self-test in a process of its own.

        Raises:
            UserError: the test failed.
        """
        command = [sys.executable, "-m", "carvana.kaggle.session.self_test"]
        command += [str(self._code), str(self._data), str(self._work / RUNS)]
        if subprocess.run(command).returncode:
            raise UserError(f"the self-test failed, with these libraries: {self._machine}")

    def _commands(self) -> list[list[str]]:
        settings, runs = self._settings, self._work / RUNS
        if settings.step == "train":
            left = [run.fold for run in run_dirs(settings, self._work) if not run.finished]
            return train_commands(settings, self._code, self._data, runs, left, len(self._gpus))
        submissions = self._work / SUBMISSIONS
        return predict_commands(settings, self._code, self._data, runs, submissions, len(self._gpus))


def work_seconds(hours: float) -> float:
    """Return the seconds that a session works, of its limit in hours; the rest is for saving the output."""
    limit = hours * 3600
    return limit - min(limit * _MARGIN, _MAX_MARGIN_S)


def _cancel(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that the output is saved undisturbed
    raise Cancelled
