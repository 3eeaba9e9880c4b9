"""The notebooks of the stand-in: pushed versions with a session each, its status, log and output.

Paths, fields and names are those of kagglesdk 0.1.38. How a version is named in a request (`v3`; any other form is
404) and that requests without one mean the newest version is what users of the real service report.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

COMPETITION = "carvana-image-masking-challenge"
QUEUED, RUNNING, COMPLETE, ERROR = "QUEUED", "RUNNING", "COMPLETE", "ERROR"
CANCELLED = "CANCEL_ACKNOWLEDGED"


class NotFoundError(Exception):
    """A response with status 404."""


@dataclass
class Session:
    """The session of a version."""

    number: int
    body: dict
    """The request that pushed it."""
    folder: Path
    """Folder that becomes `/kaggle`."""
    state: str = QUEUED
    failure: str = ""
    log: list[dict] = field(default_factory=list)
    """Events `{stream_name, time, data}`."""
    stop: Callable[[], None] = lambda: None
    """Sends SIGTERM to the running script."""

    @property
    def ended(self) -> bool:
        return self.state in (COMPLETE, ERROR, CANCELLED)

    @property
    def output(self) -> Path:
        return self.folder / "working"

    def print(self, text: str) -> None:
        """Add text to the log."""
        self.log.append({"stream_name": "stdout", "time": time.time(), "data": text})

    def end(self, state: str, failure: str = "") -> None:
        self.failure, self.state = failure, state


class Runner(Protocol):
    """What runs a session's script, in a thread of its own; it must end the session."""

    def __call__(self, session: Session) -> None: ...


@dataclass
class Scripted:
    """A runner without a process: it prints lines, writes files, and ends the session as a test defines."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    lines: tuple[str, ...] = ("training\n",)
    state: str = COMPLETE
    failure: str = ""
    go_on: threading.Event = field(default_factory=threading.Event)
    """Set by the test to let the session end; set at once unless `waits`."""
    waits: bool = False

    def __call__(self, session: Session) -> None:
        session.state = RUNNING
        for line in self.lines:
            session.print(line)
        if self.waits:
            self.go_on.wait(60)
        for name, content in self.files.items():
            path = session.output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        session.end(self.state, self.failure)


@dataclass
class KernelService:
    """All notebooks of an account."""

    folder: Path
    run: Runner = field(default_factory=Scripted)
    attach: Callable[[Session, "KernelService"], None] = lambda session, service: None
    """Fills `/kaggle/input` of a session."""
    kernels: dict[str, list[Session]] = field(default_factory=dict)
    """Versions by notebook `OWNER/SLUG`."""
    competitions: tuple[str, ...] = (COMPETITION,)
    """Competitions whose rules are accepted."""
    datasets: dict[str, Path] = field(default_factory=dict)
    """Datasets by `OWNER/SLUG`."""
    quota_s: tuple[float, float] = (0.0, 30 * 3600.0)
    """Seconds of GPU time that are used and allowed this week."""
    push_error: str = ""
    """Error in the response to a push, whose HTTP status is 200."""
    renamed: str = ""
    """Another name that a pushed notebook gets."""
    replaced: dict[str, bytes] = field(default_factory=dict)
    """Content that is sent in place of a file of the output."""
    hidden: set[str] = field(default_factory=set)
    """Files of the output that are not listed."""
    extra_names: dict[str, bytes] = field(default_factory=dict)
    """Further files that are listed."""
    cut_log_after: int = 0
    """Events after which the next stream of a log is interrupted; 0 for none."""
    page_size: int = 3
    """Files per page, fewer than the client requests."""

    def session(self, owner: str, slug: str, label: str | None = None) -> Session:
        """Return a version's session; the newest one's without a label."""
        sessions = self.kernels.get(f"{owner}/{slug}")
        if not sessions:
            raise NotFoundError
        if label is None:
            return sessions[-1]
        found = [session for session in sessions if label == f"v{session.number}"]
        if not found:
            raise NotFoundError
        return found[0]

    def delete_all(self) -> None:
        """Delete all notebooks, as their owner does on Kaggle's pages."""
        self.kernels.clear()
        shutil.rmtree(self.folder)

    def SaveKernel(self, body: dict) -> dict:  # noqa: N802
        if self.push_error:
            return {"error": self.push_error}
        ref = body["slug"]
        assert body["newTitle"].lower().replace(" ", "-") == ref.split("/")[1] and len(body["newTitle"]) <= 50
        assert body["text"] and body["language"] == "python" and body["kernelType"] == "script"
        sessions = self.kernels.setdefault(ref, [])
        number = len(sessions) + 1
        session = Session(number, body, self.folder / ref.replace("/", "-") / f"v{number}")
        for name in ("input", "working", "temp"):
            (session.folder / name).mkdir(parents=True)
        invalid = self._invalid_sources(body)
        self.attach(session, self)
        sessions.append(session)
        threading.Thread(target=self.run, args=(session,), daemon=True).start()
        url = f"https://www.kaggle.com/code/{self.renamed or ref}"
        return {"ref": f"/code/{ref}", "url": url, "versionNumber": number, "kernelId": 7} | invalid

    def GetKernel(self, body: dict) -> dict:  # noqa: N802
        session = self._of(body)
        names = {"ref": f"{body['userName']}/{body['kernelSlug']}", "currentVersionNumber": session.number}
        return {"metadata": names | {"machineShape": session.body.get("machineShape", "")}, "blob": {}}

    def GetKernelSessionStatus(self, body: dict) -> dict:  # noqa: N802
        session = self._of(body)
        return {"status": session.state} | ({"failureMessage": session.failure} if session.failure else {})

    def ListKernelSessionOutput(self, body: dict) -> dict:  # noqa: N802
        session = self._of(body)
        names = [path.relative_to(session.output).as_posix() for path in session.output.rglob("*")]
        names = [name for name in names if (session.output / name).is_file() and name not in self.hidden]
        names = sorted([*names, *self.extra_names]) if session.ended else []
        first = int(body.get("pageToken") or 0)
        address = f"http://localhost/output/{body['userName']}/{body['kernelSlug']}/{session.number}"
        files = [
            {"fileName": name, "url": f"{address}/{name}?Signature=secret-signature"}
            for name in names[first : first + self.page_size]
        ]
        more = first + self.page_size < len(names)
        page = {"files": files} | ({"nextPageToken": str(first + self.page_size)} if more else {})
        return page | ({"log": json.dumps(session.log)} if session.ended else {})

    def GetAcceleratorQuotaStatistics(self, body: dict) -> dict:  # noqa: N802
        used, allowed = (f"{seconds:.3f}s" for seconds in self.quota_s)
        gpu = {"timeUsed": used, "timeReserved": "0s", "totalTimeAllowed": allowed, "hasEverRun": True}
        return {"gpuQuota": gpu, "quotaRefreshTime": "2026-11-28T00:00:00Z"}

    def file(self, path: str) -> bytes:
        """Return the content at an address of the output: OWNER/SLUG/NUMBER/NAME."""
        owner, slug, number, name = path.split("/", 3)
        for contents in (self.replaced, self.extra_names):
            if name in contents:
                return contents[name]
        return (self.session(owner, slug, f"v{number}").output / name).read_bytes()

    def _of(self, body: dict) -> Session:
        return self.session(body["userName"], body["kernelSlug"], body.get("versionLabel"))

    def _invalid_sources(self, body: dict) -> dict[str, list[str]]:
        known = {
            "invalidCompetitionSources": ("competitionDataSources", self.competitions),
            "invalidKernelSources": ("kernelDataSources", self.kernels),
            "invalidDatasetSources": ("datasetDataSources", self.datasets),
        }
        invalid = {
            key: [one for one in body.get(field_, []) if one not in names]
            for key, (field_, names) in known.items()
        }
        return {key: names for key, names in invalid.items() if names}
