"""A notebook on Kaggle, which the API calls a kernel: its versions, their status, logs and output.

Kaggle's client has methods for these, but they print, and download all files at once. So the requests are made here,
with the version in them; Kaggle writes it as `v3`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from requests.exceptions import HTTPError

from carvana.errors import UserError
from carvana.kaggle.client import TemporaryError, describe_errors, translate_errors

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

RUNNING, COMPLETE, FAILED, CANCELLED = "running", "complete", "failed", "cancelled"
QUEUED = "queued"
"""States of a version's session."""

_STATES = {
    "QUEUED": QUEUED,
    "NEW_SCRIPT": QUEUED,
    "RUNNING": RUNNING,
    "COMPLETE": COMPLETE,
    "ERROR": FAILED,
    "CANCEL_REQUESTED": RUNNING,  # the session may still save its output
    "CANCEL_ACKNOWLEDGED": CANCELLED,
}
_ABSENT = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
"""Responses for a notebook that does not exist; for Kaggle it may as well be another user's private one."""
_PAGE_SIZE = 100
_END_OF_LOG = "END_OF_LOG"


class NoSessionError(TemporaryError):
    """A version without a session, which may still get one."""


@dataclass(frozen=True)
class Status:
    """Status of a version's session."""

    state: str
    """One of the states above."""
    failure: str
    """Kaggle's reason for a failure."""

    @property
    def ended(self) -> bool:
        """True if the session has ended."""
        return self.state in (COMPLETE, FAILED, CANCELLED)


@dataclass(frozen=True)
class Quota:
    """Time on GPUs of the current week, in hours."""

    left: float
    allowed: float
    renewed: str
    """Date and time of the next week's quota (UTC); "" if unknown."""


@dataclass(frozen=True)
class Kernel:
    """A notebook of an account."""

    api: "KaggleApi"
    owner: str
    slug: str

    @property
    def ref(self) -> str:
        """Name of the notebook, `OWNER/SLUG`."""
        return f"{self.owner}/{self.slug}"

    @property
    def url(self) -> str:
        """Address of the notebook's page."""
        return f"https://www.kaggle.com/code/{self.ref}"

    def newest_version(self) -> int | None:
        """Return the number of the newest version, or None if the notebook does not exist.

        Raises:
            UserError: Kaggle does not return it.
        """
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

        request = ApiGetKernelRequest()
        request.user_name, request.kernel_slug = self.owner, self.slug
        with translate_errors(f"look up {self.ref}"), self._client() as client:
            try:
                metadata = client.get_kernel(request).metadata
            except HTTPError as error:
                if error.response is not None and error.response.status_code in _ABSENT:
                    return None
                raise
            return metadata.current_version_number or None

    def status(self, version: int) -> Status:
        """Return the status of a version's session.

        Raises:
            NoSessionError: the version has no session, because it is not queued yet, or was saved without one.
            UserError: Kaggle does not return it.
        """
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

        request = self._of_version(ApiGetKernelSessionStatusRequest(), version)
        with translate_errors(f"get the status of {self.ref}"), self._client() as client:
            try:
                response = client.get_kernel_session_status(request)
            except HTTPError as error:
                if error.response is not None and error.response.status_code == HTTPStatus.NOT_FOUND:
                    raise NoSessionError(
                        f"{self.ref}: version {version} has no session yet (if it gets none, --fresh pushes another"
                        " version)"
                    ) from None
                raise
        return Status(_STATES[response.status.name], " ".join(response.failure_message.split()))

    def output(self, version: int) -> dict[str, str]:
        """Return the files of a version's output: the address of each by its path.

        The addresses are signed and expire.

        Raises:
            UserError: Kaggle does not return them.
        """
        files: dict[str, str] = {}
        for page in self._output_pages(version):
            files |= {file.file_name: file.url for file in page.files}
        return files

    def log(self, version: int) -> str:
        """Return the log of a version whose session has ended.

        Raises:
            UserError: Kaggle does not return it.
        """
        return "".join(_pieces(next(self._output_pages(version)).log))

    def stream_log(self, version: int) -> Iterator[str]:
        """Yield the pieces of the log of a running session from its beginning, until the session ends.

        Raises:
            UserError: Kaggle refuses, or the connection is interrupted.
        """
        with describe_errors(f"follow {self.ref}"), self.api.build_kaggle_client() as client:
            http = client.http_client()
            address = http._get_request_url("kernels", f"logs/stream/{self.ref}")
            session = http._session
            headers = {"Accept": "text/event-stream, */*"}
            with session.get(
                address, params={"versionLabel": f"v{version}"}, headers=headers, stream=True
            ) as response:
                response.raise_for_status()
                if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    for line in response.iter_lines(chunk_size=1):  # each line as it arrives
                        event = line.decode("utf-8", "replace")
                        if event.removeprefix("data:").strip() == _END_OF_LOG:
                            return
                        if event.startswith("data:"):
                            yield _text_of_event(event.removeprefix("data:").strip())
                else:
                    yield from _pieces(response.text)

    def _output_pages(self, version: int) -> Iterator[Any]:
        from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

        token: str | None = None
        while token != "":
            request = self._of_version(ApiListKernelSessionOutputRequest(), version)
            request.page_size, request.page_token = _PAGE_SIZE, token
            with translate_errors(f"list the output of {self.ref}"), self._client() as client:
                page = client.list_kernel_session_output(request)
            yield page
            token = page.next_page_token or ""

    def _of_version(self, request: Any, version: int) -> Any:
        request.user_name, request.kernel_slug = self.owner, self.slug
        request.version_label = f"v{version}"
        return request

    @contextmanager
    def _client(self) -> Iterator[Any]:
        with self.api.build_kaggle_client() as client:
            yield client.kernels.kernels_api_client


def find_kernel(api: "KaggleApi", slug: str) -> Kernel:
    """Return the notebook of the signed-in account with a name; it need not exist.

    Raises:
        UserError: the account's name is unknown.
    """
    owner = api.get_config_value(api.CONFIG_NAME_USER)
    if not owner:
        raise UserError(
            "the account's name is unknown; sign in to Kaggle with a token or with a name and a key"
        )
    return Kernel(api, owner, slug)


def gpu_quota(api: "KaggleApi") -> Quota | None:
    """Return the account's quota of GPU time; None if Kaggle has none for it.

    Raises:
        UserError: Kaggle does not return it.
    """
    with translate_errors("get the quota of GPU time"):
        response = api.quota_view()
    quota = response.gpu_quota
    if quota is None or quota.total_time_allowed is None:
        return None
    used = sum(filter(None, (quota.time_used, quota.time_reserved)), timedelta())
    hour = timedelta(hours=1)
    renewed = response.quota_refresh_time
    return Quota(
        left=max(0.0, (quota.total_time_allowed - used) / hour),
        allowed=quota.total_time_allowed / hour,
        renewed=f"{renewed:%Y-%m-%d %H:%M}" if renewed else "",
    )


def _pieces(text: str) -> list[str]:
    """Return the texts of a log: JSON of events `{stream_name, time, data}`, or plain text."""
    try:
        events = json.loads(text)
    except ValueError:
        return text.splitlines(keepends=True)
    return [str(event.get("data", "")) for event in events if isinstance(event, dict)]


def _text_of_event(payload: str) -> str:
    """Return the text of an event of the stream."""
    try:
        event = json.loads(payload)
    except ValueError:
        return f"{payload}\n"
    return str(event.get("data", "")) if isinstance(event, dict) else f"{payload}\n"
