"""Sign-in and errors of Kaggle's client, which talks HTTP to a stand-in on the loopback."""

import json
from pathlib import Path

import pytest
from tests.kaggle_stand_in import KEY, TOKEN, USER, KaggleStandIn

from carvana.errors import UserError
from carvana.kaggle.client import sign_in
from carvana.kaggle.scores import list_submissions


@pytest.mark.parametrize(
    "credentials",
    [
        *("token", "token file", "access_token", "key", "key file", "login", "notebook"),
        *("expired", "revoked key"),
    ],
)
def test_each_kind_of_credentials(
    kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, credentials: str
) -> None:
    home = tmp_path / "home" / ".kaggle"
    settings = tmp_path / "home" / "settings"
    for folder in (home, settings):
        folder.mkdir(parents=True)
    match credentials:
        case "token":
            monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        case "token file":
            (tmp_path / "token").write_text(TOKEN + "\n")
            monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
        case "access_token":
            (home / "access_token").write_text(TOKEN)
        case "login":  # the file of `kaggle auth login`
            login = {"refresh_token": "r", "access_token": TOKEN, "username": USER}
            login["access_token_expiration"] = "2999-01-01T00:00:00+00:00"
            (home / "credentials.json").write_text(json.dumps(login))
        case "notebook":
            (tmp_path / "token").write_text(TOKEN)
            monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
            monkeypatch.setenv("KAGGLE_DATA_PROXY_URL", "http://localhost/proxy")
            monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(tmp_path / "token"))
        case "expired":
            monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_another")
        case "key" | "revoked key":
            monkeypatch.setenv("KAGGLE_USERNAME", USER)
            monkeypatch.setenv("KAGGLE_KEY", KEY if credentials == "key" else "revoked")
        case "key file":
            (settings / "kaggle.json").write_text(f'{{"username": "{USER}", "key": "{KEY}"}}')
    if credentials == "expired":
        with pytest.raises(UserError, match="KAGGLE_API_TOKEN: Kaggle refuses this token"):
            sign_in()
    elif credentials == "revoked key":
        with pytest.raises(UserError, match=r"\(401 Unauthorized\); make a token"):
            list(list_submissions(sign_in()))
    else:
        assert list(list_submissions(sign_in())) == []


def test_without_credentials_a_message_explains_how_to_get_some(
    kaggle: KaggleStandIn, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(
        UserError, match=r"no Kaggle credentials; make a token at https://www\.kaggle\.com/settings/api"
    ):
        sign_in()
    assert "".join(capfd.readouterr()) == ""


def test_a_failed_connection_is_one_line(signed_in: KaggleStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UserError, match="sign in to Kaggle: the connection to Kaggle failed"):
        sign_in()
