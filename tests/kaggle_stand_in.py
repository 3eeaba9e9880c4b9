"""A stand-in for Kaggle on the loopback, which speaks what the real client speaks.

It is a web server that the client reaches as its proxy: with KAGGLE_API_ENVIRONMENT=LOCALHOST the client talks to
http://localhost, and HTTP_PROXY takes that to whatever port is free here. Paths, fields and status codes are those
of kaggle 2.2.4 and 2.2.5 (kagglesdk 0.1.37 and 0.1.38); a submission is scored against the truth as the real board
does it.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from carvana.errors import UserError
from carvana.evaluation.scores import score_submission
from carvana.kaggle.client import COMPETITION
from carvana.submission.local_board import board_scores

TOKEN, USER, KEY = "KGAT_secret_token", "someone", "0123456789abcdef-secret-key"
SIGNATURE = "Signature=secret-signature"


@dataclass
class Refusal:
    """What a request is answered with in place of the real thing."""

    status: int
    message: str = ""
    times: int = 1_000


@dataclass
class KaggleStandIn:
    """A competition with its files and submissions, and what shall go wrong with it."""

    folder: Path
    """Where uploads are kept."""
    truth: Path | None = None
    """Masks with their Usage, for the scores."""
    files: dict[str, bytes] = field(default_factory=dict)
    submissions: list[dict] = field(default_factory=list)
    """As the API shows them, the oldest first."""
    daily_limit: int = 5
    pending_for: int = 1
    """How often a submission is shown unscored."""
    on_a_team: bool = True
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """By request, e.g. `CreateSubmission`, or `upload` and `download`."""
    cut_download_at: int | None = None
    """Bytes after which the next download is cut."""
    hang: bool = False
    """Whether it hangs there instead, until the client is gone."""
    cut_upload: bool = False
    """Whether the next upload is cut in its middle."""
    lose_answer_of: str = ""
    """The request that is carried out once, but whose answer never comes."""
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    """Of downloads that went on."""
    uploads: dict[str, dict] = field(default_factory=dict)
    port: int = 0

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that take the client here, without any credentials."""
        return {
            "HOME": str(home),
            "KAGGLE_CONFIG_DIR": str(home / "settings"),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": f"http://127.0.0.1:{self.port}",
            "http_proxy": f"http://127.0.0.1:{self.port}",
            "NO_PROXY": "",
            "no_proxy": "",
        }

    def answer(self, request: str, body: dict) -> dict:
        """Answer an API request."""
        return getattr(self, f"_{request}")(body)

    def _IntrospectToken(self, body: dict) -> dict:  # noqa: N802
        good = body["token"] == TOKEN
        return {"active": good, "username": USER if good else ""}

    def _ListDataFiles(self, body: dict) -> dict:  # noqa: N802
        assert body["competitionName"] == COMPETITION
        names, size = sorted(self.files), 3  # smaller pages than asked for: the client has to turn them
        first = int(body.get("pageToken") or 0)
        shown = [{"name": name, "totalBytes": len(self.files[name])} for name in names[first : first + size]]
        return {"files": shown} | ({"nextPageToken": str(first + size)} if first + size < len(names) else {})

    def _GetSubmissionLimits(self, body: dict) -> dict:  # noqa: N802
        if not self.on_a_team:
            return {}
        today = sum("old" not in submission for submission in self.submissions)
        return {"numToday": today, "numTotal": today, "numAllowedNow": max(0, self.daily_limit - today)}

    def _StartSubmissionUpload(self, body: dict) -> dict:  # noqa: N802
        token = f"upload-{len(self.uploads)}"
        self.uploads[token] = body
        return {"token": token, "createUrl": f"http://localhost/upload/{token}?{SIGNATURE}"}

    def _CreateSubmission(self, body: dict) -> dict:  # noqa: N802
        upload = self.uploads[body["blobFileTokens"]]
        path = self.folder / body["blobFileTokens"] / upload["fileName"]
        assert path.stat().st_size == upload["contentLength"]
        ref = 40_000_000 + len(self.submissions)
        self.submissions.append(
            {
                "ref": ref,
                "fileName": upload["fileName"],
                "description": body.get("submissionDescription", ""),
                "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "totalBytes": upload["contentLength"],
                "path": str(path),
                "shown": 0,
            }
        )
        return {"message": "Successfully submitted to Carvana Image Masking Challenge", "ref": ref}

    def _ListSubmissions(self, body: dict) -> dict:  # noqa: N802
        newest_first, size = self.submissions[::-1], body.get("pageSize", 20)
        first = (body.get("page", 1) - 1) * size
        return {"submissions": [self._shown(one) for one in newest_first[first : first + size]]}

    def _shown(self, submission: dict) -> dict:
        known = {key: value for key, value in submission.items() if key not in ("path", "shown", "old")}
        submission["shown"] = submission.get("shown", 0) + 1
        if "path" not in submission or submission["shown"] <= self.pending_for:
            return {"status": "PENDING"} | known
        try:
            scores = board_scores(score_submission(Path(submission["path"]), self.truth))
        except UserError as error:
            return known | {"status": "ERROR", "errorDescription": str(error).split(": ", 1)[1]}
        parts = {f"{name}Score": f"{dice:.5f}" for name, dice in scores.items()}
        return known | {"status": "COMPLETE"} | parts


@contextmanager
def running(stand_in: KaggleStandIn) -> Iterator[KaggleStandIn]:
    """Let it listen on a free port of the loopback."""

    class Handler(_Handler):
        board = stand_in

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    board: KaggleStandIn
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match = re.fullmatch(r"/api/v1/[a-z]+\.\w+/(\w+)", urlsplit(self.path).path)
        request = match[1]
        self.board.requests.append(request)
        if request != "IntrospectToken" and not self._signed_in():
            self._json({"code": 401, "message": "Unauthorized"}, 401)
        elif not self._refused(request):
            if request == "DownloadDataFile":
                self._redirect(body)
                return
            answer = self.board.answer(request, body)
            if self.board.lose_answer_of == request:
                self.board.lose_answer_of = ""
                self.close_connection = True
                return
            self._json(answer)

    def do_GET(self) -> None:
        """A file of the storage that downloads are sent on to."""
        name = urlsplit(self.path).path.rsplit("/", 1)[1]
        if self._refused("download"):
            return
        whole, first = self.board.files[name], 0
        tag = f'"{hashlib.md5(whole).hexdigest()}"'
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") == tag:
            self.board.ranges.append(asked)
            first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        self.send_response(206 if first else 200)
        for header, value in (
            ("Content-Type", "application/zip"),
            ("Content-Length", str(len(whole) - first)),
            ("Accept-Ranges", "bytes"),
            ("Last-Modified", formatdate(1_500_000_000, usegmt=True)),
            ("ETag", tag),
        ):
            self.send_header(header, value)
        self.end_headers()
        cut, self.board.cut_download_at = self.board.cut_download_at, None
        self.wfile.write(whole[first:cut])
        if cut is not None and self.board.hang:
            self.connection.recv(1)
        self.close_connection = cut is not None

    def do_PUT(self) -> None:
        """An upload to the storage."""
        assert urlsplit(self.path).query == SIGNATURE
        length = int(self.headers["Content-Length"])
        if self.board.cut_upload:
            self.board.cut_upload = False
            self.rfile.read(length // 2)
            self.connection.close()
            self.close_connection = True
            return
        data = self.rfile.read(length)
        if self._refused("upload"):
            return
        token = urlsplit(self.path).path.rsplit("/", 1)[1]
        path = self.board.folder / token / self.board.uploads[token]["fileName"]
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        self._json({})

    def _redirect(self, body: dict) -> None:
        name = body["fileName"]
        if name not in self.board.files:
            self._json({"code": 404, "message": f"Not found: {name}"}, 404)
            return
        self.send_response(302)
        self.send_header("Location", f"http://localhost/storage/{name}?{SIGNATURE}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _signed_in(self) -> bool:
        basic = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        return self.headers.get("Authorization") in (f"Bearer {TOKEN}", f"Basic {basic}")

    def _refused(self, request: str) -> bool:
        refusal = self.board.refusals.get(request)
        if refusal is None or refusal.times == 0:
            return False
        refusal.times -= 1
        if refusal.message:
            self._json({"code": refusal.status, "message": refusal.message}, refusal.status)
        else:
            self.send_response(refusal.status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "0")
            self.end_headers()
        return True

    def _json(self, answer: dict, status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
