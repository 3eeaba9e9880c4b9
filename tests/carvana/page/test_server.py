"""The page's server: what it serves, what it refuses, and its page in headless Chromium."""

import http.client
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser import headless_chromium

from carvana.errors import UserError
from carvana.page import server as page_server
from carvana.page.server import HOST, MAX_BYTES, MAX_PIXELS, CutOut, PageServer

SIZE = (60, 90)


def _cut_out(photo: bytes) -> Image.Image:
    """Return a photo whose right half is transparent; a photo that is black is refused."""
    pixels = np.array(Image.open(io.BytesIO(photo)).convert("RGBA"))
    if not pixels[..., :3].any():
        raise UserError("photo 1: is black")
    pixels[:, pixels.shape[1] // 2 :, 3] = 0
    return Image.fromarray(pixels)


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer(_cut_out, 0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


def _photo(level: int = 200, format_: str = "PNG", size: tuple[int, int] = SIZE) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(content, format_)
    return content.getvalue()


def _request(
    server: PageServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    if body is not None and "Content-Length" not in headers:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def test_it_listens_on_this_machine_only(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_in_use_is_refused(server: PageServer) -> None:
    with pytest.raises(UserError, match=r"--port \d+: cannot be used .*; choose another"):
        PageServer(_cut_out, server.server_port)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_photo_is_answered_with_its_cut_out(server: PageServer, format_: str) -> None:
    status, content, headers = _request(server, "POST", "/cutout", _photo(format_=format_))
    assert (status, headers["Content-Type"]) == (200, "image/png")
    cutout = Image.open(io.BytesIO(content))
    assert (cutout.mode, cutout.size) == ("RGBA", SIZE[::-1])


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/template/page.html",
        "/etc/passwd",
        "//etc/passwd",
        "/page.css/..",
        "/%2e%2e/server.py",
        "/?",
    ],
)
def test_no_other_file_is_served(server: PageServer, path: str) -> None:
    assert _request(server, "GET", path)[0] == 404
    assert _request(server, "POST", path, b"")[0] == 404


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js"])
def test_the_files_of_the_page_let_nothing_in_from_elsewhere(server: PageServer, path: str) -> None:
    status, _, headers = _request(server, "GET", path)
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": HOST}],
)
def test_other_sites_are_refused(server: PageServer, headers: dict[str, str]) -> None:
    assert _request(server, "GET", "/", **headers)[0] == 403
    assert _request(server, "POST", "/cutout", _photo(), **headers)[0] == 403


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"no image", {}, 422, b"not an image"),
        (b"", {}, 422, b"not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", {}, 422, b"not an image"),
        (_photo(0), {}, 422, b"photo 1: is black"),
        (None, {}, 411, b"no length"),
        (None, {"Content-Length": "-1"}, 411, b"no length"),
        (None, {"Content-Length": str(MAX_BYTES + 1)}, 413, b"larger than 32 MB"),
        (None, {"Content-Length": "9" * 5000}, 413, b"larger than 32 MB"),
    ],
)
def test_what_is_no_photo_is_refused(
    server: PageServer, body: bytes | None, headers: dict[str, str], status: int, reason: bytes
) -> None:
    answer = _request(server, "POST", "/cutout", body, **headers)
    assert answer[0] == status
    assert reason in answer[1]


def test_a_photo_of_too_many_pixels_is_refused_by_its_header(server: PageServer) -> None:
    small = _photo(size=(1, 1))
    width = (MAX_PIXELS + 1).to_bytes(4, "big")
    huge = small[:16] + width + small[20:]
    huge = huge[:29] + zlib.crc32(huge[12:29]).to_bytes(4, "big") + huge[33:]
    status, reason, _ = _request(server, "POST", "/cutout", huge)
    assert status == 422
    assert b"at most 50 million pixels" in reason


def test_too_many_uploads_at_once_are_refused(server: PageServer) -> None:
    """Connections that have sent only a part of their photo."""
    head = f"POST /cutout HTTP/1.0\r\nHost: {HOST}:{server.server_port}\r\nContent-Length: 100\r\n\r\nx"
    open_ = [socket.create_connection((HOST, server.server_port)) for _ in range(4)]
    for connection in open_:
        connection.sendall(head.encode())
    deadline = time.monotonic() + 30
    while _request(server, "POST", "/cutout", _photo())[0] != 503:
        assert time.monotonic() < deadline
    for connection in open_:
        connection.close()
    while _request(server, "POST", "/cutout", _photo())[0] != 200:
        assert time.monotonic() < deadline


def _start_upload(server: PageServer, body: bytes, length: int) -> socket.socket:
    connection = socket.create_connection((HOST, server.server_port), timeout=30)
    head = f"POST /cutout HTTP/1.0\r\nHost: {HOST}:{server.server_port}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def _reset(connection: socket.socket) -> None:
    """Close a connection without its orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def _running(cut_out: CutOut) -> Iterator[PageServer]:
    """A server that is closed when all of its requests have ended."""
    server = PageServer(cut_out, 0)
    server.daemon_threads = False
    with server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("close", [socket.socket.close, _reset])
def test_a_client_that_closes_the_connection_within_its_photo_prints_nothing(
    close: Callable[[socket.socket], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with _running(_cut_out) as server:
        close(_start_upload(server, _photo()[:50], len(_photo())))
        assert _request(server, "POST", "/cutout", _photo())[0] == 200
    assert capsys.readouterr() == ("", "")


def test_an_incomplete_photo_has_no_answer(server: PageServer) -> None:
    with _start_upload(server, _photo()[:9], len(_photo())) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


@pytest.mark.parametrize("close", [socket.socket.close, _reset])
@pytest.mark.parametrize("level", [0, 200], ids=["refused", "cut out"])
def test_a_client_that_closes_the_connection_before_its_answer_prints_nothing(
    close: Callable[[socket.socket], None], level: int, capsys: pytest.CaptureFixture[str]
) -> None:
    received, closed = threading.Event(), threading.Event()

    def cut_out_late(photo: bytes) -> Image.Image:
        received.set()
        assert closed.wait(30)
        return _cut_out(photo)

    photo = _photo(level)
    with _running(cut_out_late) as server:
        connection = _start_upload(server, photo, len(photo))
        assert received.wait(30)
        close(connection)
        closed.set()
        assert _request(server, "POST", "/cutout", _photo())[0] == 200
    assert capsys.readouterr() == ("", "")


def test_other_errors_of_a_request_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: bytes) -> Image.Image:
        raise ZeroDivisionError

    with _running(fail) as server, pytest.raises(http.client.RemoteDisconnected):
        _request(server, "POST", "/cutout", _photo())
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_page_knows_the_largest_size() -> None:
    html = (Path(page_server.__file__).parent / "template" / "page.html").read_text()
    assert f'data-max-bytes="{MAX_BYTES}"' in html


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with headless_chromium(tmp_path_factory.mktemp("downloads")) as browser:
        yield browser


@pytest.fixture
def page(chromium: webdriver.Chrome, server: PageServer) -> webdriver.Chrome:
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.set_window_size(1200, 1000)
    chromium.get(server.url)
    return chromium


def _add(page: webdriver.Chrome, *photos: Path) -> None:
    """Choose photos, and wait until all are done."""
    page.find_element(By.ID, "photos").send_keys("\n".join(map(str, photos)))
    WebDriverWait(page, 20).until(lambda page: page.find_element(By.ID, "status").text == "Done")


def _divider(page: webdriver.Chrome) -> str:
    return page.execute_script("return getComputedStyle(document.querySelector('.stack .cutout')).clipPath")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my car.png"
    path.write_bytes(_photo())
    return path


def test_photos_are_shown_with_their_cut_outs(page: webdriver.Chrome, photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(_photo(100, "JPEG"))
    _add(page, photo, other)
    names = [element.text for element in page.find_elements(By.CSS_SELECTOR, "#results .name")]
    assert names == ["other.jpg", "my car.png"]
    for image in page.find_elements(By.CSS_SELECTOR, "#results img"):
        assert page.execute_script("return arguments[0].naturalWidth", image) == SIZE[1]
    assert page.get_log("browser") == []


def test_the_divider_is_moved_by_keyboard(page: webdriver.Chrome, photo: Path) -> None:
    _add(page, photo)
    assert _divider(page) == "inset(0px 0px 0px 50%)"
    page.find_element(By.CSS_SELECTOR, "#results .divider").send_keys(Keys.HOME)
    assert _divider(page) == "inset(0px 0px 0px 0%)"
    page.find_element(By.CSS_SELECTOR, "#results .divider").send_keys(Keys.ARROW_RIGHT)
    assert _divider(page) == "inset(0px 0px 0px 1%)"


def test_all_is_reached_by_tab(page: webdriver.Chrome, photo: Path) -> None:
    _add(page, photo)
    page.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(6):
        ActionChains(page).send_keys(Keys.TAB).perform()
        element = page.switch_to.active_element
        reached.append(
            element.get_attribute("id") or element.get_attribute("class") or element.get_attribute("name")
        )
    assert reached == ["photos", "ground", "colour", "divider", "download", "remove"]


@pytest.mark.parametrize(
    ("ground", "expected"), [("", (200, 0)), ("#000000", (200, 255)), ("colour", (200, 255))]
)
def test_a_cut_out_is_downloaded_over_the_chosen_ground(
    page: webdriver.Chrome, photo: Path, ground: str, expected: tuple[int, int], tmp_path: Path
) -> None:
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "got")}
    )
    _add(page, photo)
    page.find_element(By.CSS_SELECTOR, f"input[name=ground][value='{ground}']").send_keys(Keys.SPACE)
    page.find_element(By.CSS_SELECTOR, ".download").send_keys(Keys.ENTER)
    path = tmp_path / "got" / "my car.png"
    WebDriverWait(page, 20).until(lambda _: path.is_file())
    pixels = np.array(Image.open(path).convert("RGBA"))
    assert pixels.shape == (*SIZE, 4)
    assert (pixels[5, 5, 0], pixels[5, -5, 3]) == expected
    if ground:
        assert pixels[5, -5, :3].tolist() == ([0, 0, 0] if ground == "#000000" else [0x3A, 0x7B, 0xD5])


def test_a_file_that_is_no_photo_is_named(page: webdriver.Chrome, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    _add(page, broken, photo)
    text = page.find_element(By.CSS_SELECTOR, "figure.error .name").text
    assert text.startswith("broken.jpg: not an image of a format that is accepted")
    page.find_element(By.CSS_SELECTOR, "figure.error .remove").click()
    assert len(page.find_elements(By.CSS_SELECTOR, "figure")) == 1


def test_it_fits_a_phone(page: webdriver.Chrome, photo: Path) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    _add(page, photo)
    assert page.execute_script("return document.documentElement.scrollWidth") == 360
    sizes = page.execute_script(
        "return JSON.stringify([...document.querySelectorAll('button, .divider')].map(e => e.offsetHeight))"
    )
    assert min(json.loads(sizes)) >= 32
