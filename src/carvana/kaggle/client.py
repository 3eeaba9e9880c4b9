"""Kaggle, through its own client: signed in, kept from hanging, and each failure said in one line.

The client signs in when it is imported, prints a page of help where it cannot, and makes a folder for its settings:
it is imported here alone, and only once it is needed. What it prints is held back: errors of its upload show the
signed address that the file goes to.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from carvana.errors import UserError

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi
    from requests.exceptions import HTTPError

COMPETITION = "carvana-image-masking-challenge"
PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"

_TOKEN = (
    "make a token at https://www.kaggle.com/settings/api"
    " and put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token"
)
_TIMEOUT_S = (15, 120)
"""Seconds to connect, and between two answers: the client itself would wait for ever."""
_HINTS = {
    401: _TOKEN,
    403: f"accept the rules at {PAGE}/rules, with the account that the token is of",
    404: f"see {PAGE} for what there is",
    429: "wait some minutes, and try again",
}


def sign_in() -> "KaggleApi":
    """Sign in by whatever credentials the client knows: a token, a user's key, a login; from variables or files.

    Raises:
        UserError: there are none, or Kaggle refuses them.
    """
    try:
        with translate_errors("sign in to Kaggle"), _without_verbose():
            from kaggle.api.kaggle_api_extended import KaggleApi
            from kagglesdk.kaggle_env import get_access_token_from_env

            api = _patient(KaggleApi)()
            api.authenticate()
    except SystemExit:  # the client's way to say so
        token, place = get_access_token_from_env()
        if token:
            raise UserError(f"{place}: Kaggle refuses this token, as wrong or expired; {_TOKEN}") from None
        raise UserError(f"no Kaggle credentials; {_TOKEN}") from None
    return api


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn what goes wrong between the client and Kaggle into one line, which `what` begins.

    Raises:
        UserError: Kaggle refused, could not, was not reached, or was cut off.
    """
    from requests.exceptions import HTTPError, RequestException
    from urllib3.exceptions import HTTPError as TransportError

    try:
        with redirect_stdout(io.StringIO()):
            yield
    except HTTPError as error:
        raise UserError(f"{what}: {_refusal(error)}") from None
    # Their texts may show addresses that are signed, and so as good as a password.
    except (RequestException, TransportError, ConnectionError, TimeoutError):
        raise UserError(
            f"{what}: the connection to Kaggle was not made, or was cut; the same command tries again"
        ) from None
    except OSError as error:
        raise UserError(f"{what}: {error.filename or 'the disk'}: {error.strerror}") from None
    except (ValueError, KeyError):
        raise UserError(f"{what}: Kaggle's answer is not of the form that its client knows") from None


def _refusal(error: "HTTPError") -> str:
    status = error.response.status_code
    try:
        said = " ".join(str(error.response.json()["message"]).split())
    except (ValueError, KeyError, TypeError):
        said = error.response.reason or ""
    if status >= 500:
        return f"Kaggle has trouble of its own ({status} {said}); try again later"
    hint = _HINTS.get(status)
    return f"Kaggle refuses ({status} {said})" + (f"; {hint}" if hint else "")


def _patient(api: "type[KaggleApi]") -> "type[KaggleApi]":
    """The client, with an end to its waiting."""
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        def send(self, request, **options):
            return super().send(request, **options | {"timeout": options.get("timeout") or _TIMEOUT_S})

    class PatientApi(api):
        def build_kaggle_client(self):
            client = super().build_kaggle_client()
            client.http_client().__enter__()  # makes the session, which has no public way in
            for scheme in ("https://", "http://"):
                client.http_client()._session.mount(scheme, Patient())
            return client

    return PatientApi


@contextmanager
def _without_verbose() -> Iterator[None]:
    """Import the client as if VERBOSE were not set: it would log every request with its credentials."""
    kept = {name: os.environ.pop(name) for name in ("VERBOSE", "VERBOSE_OUTPUT") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
