"""The web server of the stand-in, and its competition: files, submissions and scores.

It is a web server that the client uses as its proxy: with KAGGLE_API_ENVIRONMENT=LOCALHOST the client connects to
http://localhost, and HTTP_PROXY redirects that to a free port. Paths, fields and status codes are those of kaggle
2.2.4 and 2.2.5 (kagglesdk 0.1.37 and 0.1.38). Submissions are scored by code of its own, not by the project's.
"""

import base64
import csv
import gzip
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from .kernels import COMPETITION, KernelService, NotFoundError

TOKEN, USER, KEY = "KGAT_secret_token", "someone", "0123456789abcdef-secret-key"
SIGNATURE = "Signature=secret-signature"


@dataclass
class Refusal:
    """An error that is returned instead of the response to a request."""

    status: int
    message: str = ""
    times: int = 1_000
    """Number of requests that are refused."""
    after: int = 0
    """Number of requests that are served before."""


@dataclass
class KaggleStandIn:
    """A competition with its files and submissions, and the faults to simulate."""

    folder: Path
    """Folder of the uploads."""
    truth: Path | None = None
    """The true masks with their Usage (Public or Private), for the scores."""
    files: dict[str, bytes] = field(default_factory=dict)
    submissions: list[dict] = field(default_factory=list)
    """In the form of the API, the oldest first."""
    daily_limit: int = 5
    pending_for: int = 1
    """Number of requests that list a submission before it is scored."""
    on_a_team: bool = True
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """Refusals by request, e.g. `CreateSubmission`, or `upload` and `download`."""
    cut_download_at: int | None = None
    """Bytes after which the next download is interrupted."""
    cut_only: str = ""
    """End of the address of the downloads that may be interrupted; by default any."""
    hang: bool = False
    """Hang there instead, until the client closes the connection."""
    cut_upload: bool = False
    """Interrupt the next upload in its middle."""
    lose_response_of: str = ""
    """A request that is carried out once without a response."""
    requests: list[str] = field(default_factory=list)
    """Names of the API requests, in their order."""
    ranges: list[str] = field(default_factory=list)
    """Range headers of resumed downloads."""
    uploads: dict[str, dict] = field(default_factory=dict)
    port: int = 0

    def __post_init__(self) -> None:
        self.kernels = KernelService(self.folder / "kernels")

    def environment(self, home: Path) -> dict[str, str]:
        """Environment variables that redirect the client here, without any credentials."""
        return {
            "HOME": str(home),
            "KAGGLE_CONFIG_DIR": str(home / "settings"),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": f"http://127.0.0.1:{self.port}",
            "http_proxy": f"http://127.0.0.1:{self.port}",
            "NO_PROXY": "",
            "no_proxy": "",
        }

    def respond(self, request: str, body: dict) -> dict:
        """Return the response to an API request."""
        if hasattr(self.kernels, request):
            return getattr(self.kernels, request)(body)
        return getattr(self, f"_{request}")(body)

    def _IntrospectToken(self, body: dict) -> dict:  # noqa: N802
        good = body["token"] == TOKEN
        return {"active": good, "username": USER if good else ""}

    def _ListDataFiles(self, body: dict) -> dict:  # noqa: N802
        assert body["competitionName"] == COMPETITION
        names, size = sorted(self.files), 3  # pages smaller than requested
        first = int(body.get("pageToken") or 0)
        page = [{"name": name, "totalBytes": len(self.files[name])} for name in names[first : first + size]]
        return {"files": page} | ({"nextPageToken": str(first + size)} if first + size < len(names) else {})

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
                "listed": 0,
            }
        )
        return {"message": "Successfully submitted to Carvana Image Masking Challenge", "ref": ref}

    def _ListSubmissions(self, body: dict) -> dict:  # noqa: N802
        newest_first, size = self.submissions[::-1], body.get("pageSize", 20)
        first = (body.get("page", 1) - 1) * size
        page = newest_first[first : first + size]
        return {"submissions": [self._list_entry(submission) for submission in page]}

    def _list_entry(self, submission: dict) -> dict:
        entry = {key: value for key, value in submission.items() if key not in ("path", "listed", "old")}
        submission["listed"] = submission.get("listed", 0) + 1
        if "path" not in submission or submission["listed"] <= self.pending_for:
            return {"status": "PENDING"} | entry
        truth, submitted = _read_rows(self.truth), _read_rows(Path(submission["path"]))
        missing, extra = truth.keys() - submitted.keys(), submitted.keys() - truth.keys()
        if missing or extra:
            error = f"ERROR: {len(missing)} images are missing, {len(extra)} are unexpected"
            return entry | {"status": "ERROR", "errorDescription": error}
        dice = {name: _dice(row["rle_mask"], submitted[name]["rle_mask"]) for name, row in truth.items()}
        scores = {}
        for usage in ("Public", "Private"):
            values = [dice[name] for name, row in truth.items() if row["Usage"] == usage]
            scores[f"{usage.lower()}Score"] = f"{sum(values) / len(values):.5f}"
        return entry | {"status": "COMPLETE"} | scores


def _read_rows(path: Path) -> dict[str, dict[str, str]]:
    """Read a CSV file, gzipped or not: its rows by image."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return {row["img"]: row for row in csv.DictReader(text.splitlines())}


def _dice(first: str, second: str) -> float:
    """Compute the Dice of two masks, given as run-length text, from the sets of their pixels."""
    a, b = _pixels(first), _pixels(second)
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def _pixels(rle: str) -> set[int]:
    numbers = [int(number) for number in rle.split()]
    runs = zip(numbers[::2], numbers[1::2], strict=True)
    return {pixel for start, length in runs for pixel in range(start, start + length)}


@contextmanager
def running(stand_in: KaggleStandIn) -> Iterator[KaggleStandIn]:
    """Run the stand-in on a free port of the loopback."""

    class Handler(_Handler):
        board = stand_in

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Print no error where a client has closed its connection, e.g. at the end of a log."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


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
            try:
                response = self.board.respond(request, body)
            except NotFoundError:
                self._json({"code": 404, "message": "Not found"}, 404)
                return
            if self.board.lose_response_of == request:
                self.board.lose_response_of = ""
                self.close_connection = True
                return
            self._json(response)

    def do_GET(self) -> None:
        """Stream a log, or send a file of the storage that downloads are redirected to."""
        address = urlsplit(self.path)
        if address.path.startswith("/api/v1/kernels/logs/stream/"):
            if not self._refused("log"):
                self._stream_log(address.path, parse_qs(address.query))
            return
        assert "Authorization" not in self.headers or not address.path.startswith("/output/")
        if self._refused("download"):
            return
        if address.path.startswith("/output/"):
            assert address.query == SIGNATURE
            self._send_file(self.board.kernels.file(unquote(address.path.removeprefix("/output/"))))
        else:
            self._send_file(self.board.files[address.path.rsplit("/", 1)[1]])

    def _send_file(self, whole: bytes) -> None:
        """Send a file, or the part of it that the request names."""
        first = 0
        tag = f'"{hashlib.md5(whole).hexdigest()}"'
        byte_range = self.headers.get("Range")
        if byte_range and self.headers.get("If-Range", tag) == tag:
            self.board.ranges.append(byte_range)
            first = int(re.fullmatch(r"bytes=(\d+)-", byte_range)[1])
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
        cut = None
        if urlsplit(self.path).path.endswith(self.board.cut_only):
            cut, self.board.cut_download_at = self.board.cut_download_at, None
        self.wfile.write(whole[first:cut])
        if cut is not None and self.board.hang:
            self.connection.recv(1)
        self.close_connection = cut is not None

    def _stream_log(self, path: str, query: dict[str, list[str]]) -> None:
        """Stream the log of a running session as events, or send that of an ended one whole."""
        assert self._signed_in()
        owner, slug = path.split("/")[-2:]
        session = self.board.kernels.session(owner, slug, query.get("versionLabel", [None])[0])
        if session.ended:
            self._json(session.log)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cut, self.board.kernels.cut_log_after = self.board.kernels.cut_log_after, 0
        self.board.requests.append("stream")
        sent = 0
        while not (session.ended and sent == len(session.log)):
            for event in session.log[sent:]:
                self._chunk(f"data: {json.dumps(event)}\n\n")
                sent += 1
                if sent == cut:
                    self.close_connection = True
                    self.connection.close()
                    return
            time.sleep(0.01)
        self._chunk("data: END_OF_LOG\n\n")
        self._chunk("")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def do_PUT(self) -> None:
        """Receive an upload to the storage."""
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
        if refusal.after > 0:
            refusal.after -= 1
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

    def _json(self, response: dict | list, status: int = 200) -> None:
        data = json.dumps(response).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
