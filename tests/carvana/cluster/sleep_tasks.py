"""The lightest job there is: pieces that sleep, and write down who did them. Workers import it."""

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from distributed import get_worker

from carvana.console import Reporter
from carvana.errors import UserError


@dataclass(frozen=True)
class Naps:
    """A job."""

    folder: Path
    title: str = "naps"

    def sees(self) -> dict[str, str]:
        return {}

    def load(self) -> None: ...


@dataclass(frozen=True)
class Nap:
    """A piece of a few photos; `ends` says how it comes to its end, which waits for a file if it is given one."""

    folder: Path
    number: int
    ends: str = "well"
    alarm: Path | None = None
    size: int = 5

    @property
    def name(self) -> str:
        return f"nap {self.number}"

    def done(self) -> int:
        return 0

    def do(self, loaded: None, reporter: Reporter) -> None:
        worker, began = get_worker(), time.time()
        resources = dict(worker.state.available_resources)
        with reporter.progress(self.name, self.size, "photos") as advance:
            for _ in range(self.size):
                time.sleep(0.02)
                advance(1, "asleep")
            (self.folder / f"{self.number}.begun").touch()
            while self.alarm and not self.alarm.exists():
                time.sleep(0.02)
                advance(0)
        if self.ends == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.ends == "badly":
            raise UserError("a bad dream")
        facts = {"worker": worker.address, "began": began, "ended": time.time(), "resources": resources}
        (self.folder / f"{self.number}.json").write_text(json.dumps(facts))


def done_in(folder: Path) -> dict[int, dict]:
    """What was written down of each nap that is done."""
    return {int(path.stem): json.loads(path.read_text()) for path in folder.glob("*.json")}
