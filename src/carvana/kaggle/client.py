"""Kaggle's own client: sign-in, timeouts, and errors in one line.

Importing the client signs in, which prints a page of help where there are no credentials and creates a folder for
settings. So it is imported here alone, within `sign_in`. Its output is suppressed, because errors of its upload show
the signed address that the file is sent to.
"""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import HTTPError, RequestException
from urllib3.exceptions import HTTPError as TransportError

from carvana.errors import UserError
from carvana.kaggle.session.attached import COMPETITION as COMPETITION

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi
    from kagglesdk import KaggleClient

PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"

_TOKEN_HINT = (
    "make a token at https://www.kaggle.com/settings/api"
    " and put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token"
)
TIMEOUT_S = (15, 120)
"""Seconds to connect, and to wait for data. The client itself sets no timeout."""
_HINTS = {401: _TOKEN_HINT, 429: "wait some minutes and try again"}
"""Advice by HTTP status."""
COMPETITION_HINTS = {
    403: f"accept the rules at {PAGE}/rules with the account of the token",
    404: f"see {PAGE} for what exists",
}
"""Further advice for requests about the competition: its files, submissions and scores."""


class TemporaryError(UserError):
    """A failure after which the same request may succeed: no connection, too many requests, or an error of Kaggle."""


def sign_in() -> "KaggleApi":
    """Sign in with any credentials that the client knows: a token, a user's key or a login, in variables or files.

    Raises:
        UserError: there are no credentials, or Kaggle refuses them.
    """
    try:
        with translate_errors("sign in to Kaggle"), _without_verbose():
            from kaggle.api.kaggle_api_extended import KaggleApi
            from kagglesdk.kaggle_env import get_access_token_from_env

            api = _with_timeouts(KaggleApi)()
            api.authenticate()
    except SystemExit:  # raised by the client where it has no valid credentials
        token, source = get_access_token_from_env()
        if token:
            raise UserError(
                f"{source}: Kaggle refuses this token as invalid or expired; {_TOKEN_HINT}"
            ) from None
        raise UserError(f"no Kaggle credentials; {_TOKEN_HINT}") from None
    return api


@contextmanager
def translate_errors(action: str, hints: Mapping[int, str] = MappingProxyType({})) -> Iterator[None]:
    """Translate errors of Kaggle and of the connection into one line, and suppress the client's output.

    Args:
        action: the attempted action, with which the line begins.
        hints: further advice by HTTP status.

    Raises:
        UserError: Kaggle refused or failed, was not reached, or the connection was interrupted.
    """
    with describe_errors(action, hints), redirect_stdout(io.StringIO()):
        yield


@contextmanager
def describe_errors(action: str, hints: Mapping[int, str] = MappingProxyType({})) -> Iterator[None]:
    """Translate errors as `translate_errors` does, without suppressing any output.

    Args:
        action: the attempted action, with which the line begins.
        hints: further advice by HTTP status.

    Raises:
        UserError: Kaggle refused or failed, was not reached, or the connection was interrupted.
    """
    try:
        yield
    except HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        is_temporary = status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS
        message = f"{action}: {_describe_refusal(error.response, {**_HINTS, **hints})}"
        raise (TemporaryError(message) if is_temporary else UserError(message)) from None
    # The text of these errors is left out: it may hold signed addresses, which are as secret as a password.
    except (RequestException, TransportError, ConnectionError, TimeoutError):
        raise TemporaryError(
            f"{action}: the connection to Kaggle failed or was interrupted; run the same command again"
        ) from None
    except OSError as error:
        raise UserError(f"{action}: {error.filename or 'the disk'}: {error.strerror}") from None
    except (ValueError, KeyError):
        raise UserError(f"{action}: the client cannot read Kaggle's response") from None


def _describe_refusal(response: Response | None, hints: Mapping[int, str]) -> str:
    if response is None:
        return "Kaggle refuses"
    status = response.status_code
    try:
        reason = " ".join(str(response.json()["message"]).split())
    except (ValueError, KeyError, TypeError):
        reason = response.reason or ""
    if status >= 500:
        return f"Kaggle has an internal error ({status} {reason}); try again later"
    hint = hints.get(status)
    return f"Kaggle refuses ({status} {reason})" + (f"; {hint}" if hint else "")


class _TimeoutAdapter(HTTPAdapter):
    """Transport that sets a timeout on requests without one."""

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        options["timeout"] = options.get("timeout") or TIMEOUT_S
        return super().send(request, *arguments, **options)


def _with_timeouts(api: "type[KaggleApi]") -> "type[KaggleApi]":
    """Return the client's class with timeouts on its requests."""

    class ApiWithTimeouts(api):
        def build_kaggle_client(self) -> "KaggleClient":
            client = super().build_kaggle_client()
            client.http_client().__enter__()  # creates the session, to which there is no public access
            for scheme in ("https://", "http://"):
                client.http_client()._session.mount(scheme, _TimeoutAdapter())
            return client

    return ApiWithTimeouts


@contextmanager
def _without_verbose() -> Iterator[None]:
    """Hide the variable VERBOSE from the client, which would log every request with its credentials."""
    hidden = {name: os.environ.pop(name) for name in ("VERBOSE", "VERBOSE_OUTPUT") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
