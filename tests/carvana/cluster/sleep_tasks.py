"""The simplest job: tasks that sleep, and write down which worker ran them. Workers import this module."""

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distributed import get_worker

from carvana.console import Reporter
from carvana.errors import UserError


@dataclass(frozen=True)
class SleepJob:
    folder: Path
    title: str = "sleep"

    def fingerprint(self) -> dict[str, str]:
        return {}

    def load(self) -> None: ...


@dataclass(frozen=True)
class SleepTask:
    """A task that sleeps for a few samples, waits for `release_file` if it has one, and ends as `end` says."""

    folder: Path
    number: int
    end: Literal["finish", "fail", "kill", "kill once"] = "finish"
    release_file: Path | None = None
    n_samples: int = 5

    @property
    def name(self) -> str:
        return f"sleep {self.number}"

    def completed(self) -> int:
        return 0

    def execute(self, loaded: None, reporter: Reporter) -> None:
        worker, started = get_worker(), time.time()
        free = worker.state.available_resources
        resources = {name: free[name] for name in ("GPU", "carvana") if name in free}
        with reporter.progress(self.name, self.n_samples, "photos") as advance:
            for _ in range(self.n_samples):
                time.sleep(0.02)
                advance(1, "asleep")
            (self.folder / f"{self.number}.started").touch()
            while self.release_file and not self.release_file.exists():
                time.sleep(0.02)
                advance(0)
        killed_before = self.folder / f"{self.number}.killed"
        if self.end == "kill" or (self.end == "kill once" and not killed_before.exists()):
            killed_before.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.end == "fail":
            raise UserError("a bad dream")
        result = {"worker": worker.address, "started": started, "ended": time.time(), "resources": resources}
        (self.folder / f"{self.number}.json").write_text(json.dumps(result))


def read_results(folder: Path) -> dict[int, dict]:
    """Return what each finished task wrote."""
    return {int(path.stem): json.loads(path.read_text()) for path in folder.glob("*.json")}
