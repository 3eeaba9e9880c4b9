"""Server of the page: it listens on this machine only, keeps no photo, and gives no file but its own three."""

import io
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from carvana.errors import UserError

HOST = "127.0.0.1"

MAX_BYTES = 32 * 1024**2
"""Size of an uploaded file; page.html has it, too."""

MAX_PIXELS = 50_000_000
"""Pixels of an uploaded photo: those of a phone's camera."""

_MAX_UPLOADS = 4
"""Uploads that are in memory at once, of which one is predicted; further ones are refused."""

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP")
"""Formats of photos; Pillow reads others with programs of the system."""

_TIMEOUT = 30.0
"""Seconds without a byte after which a connection is closed."""

_TEMPLATES = Path(__file__).parent / "template"
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
"""The file and its type by the path of its address."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

CutOut = Callable[[bytes], Image.Image]
"""Function that cuts the car out of a photo's file; it raises UserError if the file is not a photo."""


class PageServer(ThreadingHTTPServer):
    """The server; `serve_forever` runs it."""

    daemon_threads = True

    def __init__(self, cut_out: CutOut, port: int) -> None:
        """Listen on this machine.

        Args:
            cut_out: cuts the car out of a photo; it is called by one thread at a time.
            port: the port, or 0 for any free one.

        Raises:
            UserError: the port is in use.
        """
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError(f"--port {port}: cannot be used ({error.strerror}); choose another") from None
        self._cut_out = cut_out
        self._predicting = threading.Lock()
        self.uploads = threading.BoundedSemaphore(_MAX_UPLOADS)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """Values of the header `Host` that are served; others come from names that lead here by DNS rebinding."""
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def cut_out(self, photo: bytes) -> bytes:
        """Return the cut-out of a photo's file as a PNG file.

        Raises:
            UserError: the file is not a photo, or has too many pixels.
        """
        _check_pixels(photo)
        with self._predicting:
            cutout = self._cut_out(photo)
        png = io.BytesIO()
        cutout.save(png, "PNG", compress_level=3)
        return png.getvalue()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of a request's error, unless the client has closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: PageServer
    timeout = _TIMEOUT
    server_version, sys_version = "carvana", ""

    def do_GET(self) -> None:
        """Send one of the page's own files."""
        if not self._is_own():
            return
        if self.path not in _FILES:
            self._send_text(HTTPStatus.NOT_FOUND, "there is no such page")
            return
        name, content_type = _FILES[self.path]
        self._send(HTTPStatus.OK, (_TEMPLATES / name).read_bytes(), content_type)

    def do_POST(self) -> None:
        """Cut the car out of the photo whose file is the request's body, and send it as a PNG file."""
        if not self._is_own():
            return
        if self.path != "/cutout":
            self._send_text(HTTPStatus.NOT_FOUND, "there is no such page")
        elif not self.server.uploads.acquire(blocking=False):
            self._send_text(HTTPStatus.SERVICE_UNAVAILABLE, "too many photos at once; try again")
        else:
            try:
                self._cut_out()
            finally:
                self.server.uploads.release()

    def _cut_out(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._send_text(HTTPStatus.LENGTH_REQUIRED, "the request has no length")
        elif len(length) > 12 or int(length) > MAX_BYTES:
            limit = f"{MAX_BYTES // 1024**2} MB"
            self._send_text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file is larger than {limit}")
        else:
            try:
                png = self.server.cut_out(self._read_body(int(length)))
            except TimeoutError:
                self.close_connection = True
            except UserError as error:
                self._send_text(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            else:
                self._send(HTTPStatus.OK, png, "image/png")

    def _read_body(self, length: int) -> bytes:
        """Return the request's body.

        Raises:
            ConnectionError: the client has closed the connection before the end of the body.
        """
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the request's body is incomplete")
        return body

    def _is_own(self) -> bool:
        """Return True if the request comes from this page; otherwise answer that it is forbidden.

        Other sites that are open in the browser can send requests here, and could make it compute.
        """
        origin = self.headers.get("Origin")
        origins = {None} | {f"http://{host}" for host in self.server.hosts}
        if self.headers.get("Host") in self.server.hosts and origin in origins:
            return True
        self._send_text(HTTPStatus.FORBIDDEN, "this page is for its own machine only")
        return False

    def _send_text(self, status: HTTPStatus, text: str) -> None:
        self._send(status, text.encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, content_type: str) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": content_type}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: the names and sizes of photos are nobody else's business."""


def _check_pixels(photo: bytes) -> None:
    """Raise UserError if a file is not an image, or has too many pixels; only its header is read."""
    try:
        with Image.open(io.BytesIO(photo), formats=_FORMATS) as image:
            width, height = image.size
    except Exception:  # a damaged file leads Pillow's readers to errors of almost every type
        raise UserError(f"not an image of a format that is accepted: {', '.join(_FORMATS)}") from None
    if width * height > MAX_PIXELS:
        raise UserError(
            f"the photo is {width}x{height}; at most {MAX_PIXELS // 1_000_000} million pixels are accepted"
        )
