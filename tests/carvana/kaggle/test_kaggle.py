"""Submitting to Kaggle: the real client talks HTTP to a stand-in on the loopback."""

import json
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from tests.kaggle_stand_in import KEY, SIGNATURE, TOKEN, USER, KaggleStandIn, Refusal

from carvana.errors import UserError
from carvana.kaggle.client import sign_in
from carvana.kaggle.scores import refresh, submissions
from carvana.kaggle.upload import remaining_submissions, submit
from carvana.submission.csv_file import write_submission
from carvana.submission.ledger import COLUMNS, Ledger


@pytest.fixture
def board(signed_in: KaggleStandIn, rendered: Path) -> KaggleStandIn:
    signed_in.truth = rendered / "test_masks.csv"
    return signed_in


@pytest.fixture
def folds(rendered: Path, tmp_path: Path) -> list[Path]:
    """Submissions of three folds, each with a row in the ledger; fold 2 is the best."""
    truth = pd.read_csv(rendered / "test_masks.csv", keep_default_na=False)
    paths = []
    for fold in range(3):
        path = tmp_path / "submissions" / f"fast-fold{fold}.csv.gz"
        with write_submission(path) as row:
            for place, (name, mask) in enumerate(zip(truth["img"], truth["rle_mask"], strict=True)):
                row(name, "1 9" if place % 16 < 4 - fold else mask)
        ledger = Ledger.beside(path)
        known = {"recipe": "fast", "folds": "carvana-5", "fold": str(fold), "cv_dice": f"0.99{fold}000"}
        ledger.add(ledger.row_of(path) | known | {"when": "2020-01-01T00:00:00Z"})
        paths.append(path)
    return paths


def _rows(folds: list[Path]) -> list[dict[str, str]]:
    return Ledger.beside(folds[0]).rows()


def _on_board(folds: list[Path]) -> list[str]:
    return [row["submission"] for row in _rows(folds) if row["board"] == "kaggle"]


def test_scores_of_each_fold_reach_the_ledger(board: KaggleStandIn, folds: list[Path]) -> None:
    rows = submit(folds)
    assert [row["public"] for row in rows] == ["0.750000", "0.812500", "0.875000"]
    assert [(row["board"], row["cv_dice"]) for row in rows] == [
        ("kaggle", f"0.99{fold}000") for fold in range(3)
    ]
    assert _rows(folds) == rows
    first = board.submissions[0]
    assert first["fileName"] == "fast-fold0.csv.gz"
    assert first["description"] == f"fast, fold 0, CV 0.990000 (sha256 {rows[0]['sha256'][:12]})"
    assert Path(first["path"]).read_bytes() == folds[0].read_bytes()


def test_the_same_bytes_go_there_once(
    board: KaggleStandIn, folds: list[Path], capsys: pytest.CaptureFixture
) -> None:
    submit(folds[:1])
    same = folds[0].with_name("copy.csv.gz")
    same.write_bytes(folds[0].read_bytes())
    with pytest.raises(
        UserError, match=r"copy\.csv\.gz: was submitted on .* as fast-fold0.* --again submits"
    ):
        submit([same])
    assert len(board.submissions) == 1
    submit(folds[:2])  # of several only the new one goes
    assert "fast-fold0.csv.gz: was submitted on" in capsys.readouterr().out
    assert [one["fileName"] for one in board.submissions] == ["fast-fold0.csv.gz", "fast-fold1.csv.gz"]
    submit(folds[:1], again=True)
    assert len(board.submissions) == 3
    assert _on_board(folds).count("fast-fold0.csv.gz") == 1


def test_what_is_left_today_is_said_and_kept_to(
    board: KaggleStandIn, folds: list[Path], capsys: pytest.CaptureFixture
) -> None:
    board.daily_limit = 2
    with pytest.raises(
        UserError, match=r"fold2.* limit is reached, 1 of 3 were not submitted; .* midnight UTC"
    ):
        submit(folds)
    assert "Kaggle takes 2 more submissions today" in capsys.readouterr().out
    assert len(board.submissions) == 2
    assert [row["public"] for row in _rows(folds) if row["board"]] == ["0.750000", "0.812500"]
    board.submissions[0]["old"] = True  # the next day
    submit(folds)
    assert _on_board(folds) == [path.name for path in folds]


def test_who_has_not_joined_is_not_told_of_a_limit(board: KaggleStandIn) -> None:
    board.on_a_team = False
    assert remaining_submissions(sign_in()) is None


RULES = "You must accept this competition's rules before you'll be able to submit."


@pytest.mark.parametrize(
    ("request_name", "refusal", "says"),
    [
        (
            "StartSubmissionUpload",
            Refusal(403, RULES),
            r"Kaggle refuses \(403 You must accept .*; accept the ",
        ),
        (
            "CreateSubmission",
            Refusal(400, "The competition deadline has passed."),
            r"\(400 The competition deadline",
        ),
        (
            "StartSubmissionUpload",
            Refusal(404, "Not found"),
            r"\(404 Not found\); see https://www.kaggle.com/",
        ),
        ("GetSubmissionLimits", Refusal(401, "Unauthorized"), r"\(401 Unauthorized\); make a token"),
        ("CreateSubmission", Refusal(200, "5 of 5 used"), r"Kaggle did not take it \(5 of 5 used\)"),
        ("CreateSubmission", Refusal(502), r"trouble of its own \(502"),
        ("GetSubmissionLimits", Refusal(429, "Too many requests"), r"\(429 .*; wait some minutes"),
        ("upload", Refusal(410), "the upload failed on its way"),
        ("upload", Refusal(503), "the upload failed on its way"),
    ],
)
def test_each_refusal_is_its_own_line(
    board: KaggleStandIn,
    folds: list[Path],
    capfd: pytest.CaptureFixture,
    request_name: str,
    refusal: Refusal,
    says: str,
) -> None:
    board.refusals[request_name] = refusal
    before = _rows(folds)
    with pytest.raises(UserError, match=says) as error:
        submit(folds[:1])
    assert "\n" not in str(error.value)
    assert _rows(folds) == before
    assert board.submissions == []
    shown = str(error.value) + "".join(capfd.readouterr())
    assert TOKEN not in shown
    assert SIGNATURE not in shown


def test_an_upload_that_is_cut_is_sent_again(board: KaggleStandIn, folds: list[Path]) -> None:
    board.cut_upload = True
    submit(folds[:1])
    assert Path(board.submissions[0]["path"]).read_bytes() == folds[0].read_bytes()


def test_a_submission_whose_answer_was_lost_counts_once(board: KaggleStandIn, folds: list[Path]) -> None:
    board.lose_answer_of = "CreateSubmission"
    (row,) = submit(folds[:1])
    assert (row["board"], row["public"]) == ("kaggle", "0.750000")
    with pytest.raises(UserError, match="was submitted on"):
        submit(folds[:1])
    assert len(board.submissions) == 1


def test_a_lost_answer_before_the_submission_leaves_the_ledger(
    board: KaggleStandIn, folds: list[Path]
) -> None:
    board.lose_answer_of = "StartSubmissionUpload"
    before = _rows(folds)
    with pytest.raises(UserError, match=r"was not made, or was cut.* Nothing was submitted"):
        submit(folds[:1])
    assert _rows(folds) == before


def test_a_scoring_that_fails_says_why_and_may_be_tried_again(
    board: KaggleStandIn, folds: list[Path]
) -> None:
    before = _rows(folds)
    with write_submission(folds[0]) as row:
        row("00000000000a_01.jpg", "1 1")
    with pytest.raises(UserError, match=r"fold0\.csv\.gz: Kaggle could not score it \(lacks 32 of 32 photos"):
        submit(folds[:2])
    assert _on_board(folds) == ["fast-fold1.csv.gz"]
    assert [row["board"] for row in _rows(folds) if row["submission"] == "fast-fold0.csv.gz"] == [""]
    assert len(_rows(folds)) == len(before)


def test_scores_that_come_too_late_are_fetched_by_refresh(
    board: KaggleStandIn, folds: list[Path], capsys: pytest.CaptureFixture
) -> None:
    board.pending_for = 3
    (row,) = submit(folds[:1], wait_s=0)
    assert (row["board"], row["public"]) == ("kaggle", "")
    assert "not scored yet; `./run.sh compare --refresh`" in capsys.readouterr().out
    ledger = Ledger.beside(folds[0])
    assert refresh(sign_in(), ledger) == (0, [])
    board.pending_for = 0
    assert refresh(sign_in(), ledger) == (1, [])
    assert ledger.find(row["submission"], row["sha256"], "kaggle")["public"] == "0.750000"
    assert refresh(sign_in(), ledger) == (0, [])


def test_trouble_while_waiting_is_waited_through(
    board: KaggleStandIn, folds: list[Path], capsys: pytest.CaptureFixture
) -> None:
    board.pending_for = 2

    def trouble() -> None:
        while not board.submissions:
            time.sleep(0.01)
        board.refusals["ListSubmissions"] = Refusal(503, times=1)

    thread = threading.Thread(target=trouble)
    thread.start()
    (row,) = submit(folds[:1])
    thread.join()
    assert row["public"] == "0.750000"
    assert "asking again" in capsys.readouterr().out


def test_refresh_knows_files_that_were_submitted_by_hand(board: KaggleStandIn, folds: list[Path]) -> None:
    def by_hand(file: str, message: str, date: str, public: str) -> None:
        board.submissions.append(
            {
                "ref": len(board.submissions) + 1,
                "fileName": file,
                "description": message,
                "date": date,
                "status": "COMPLETE",
                "publicScore": public,
                "privateScore": "0.98",
            }
        )

    rows = _rows(folds)
    by_hand("other.csv", "", "2020-02-01T00:00:00.0Z", "0.1")
    by_hand(
        "fast-fold0.csv.gz", "by hand", "2019-02-01T00:00:00.0Z", "0.2"
    )  # of other bytes: older than the row
    by_hand("fast-fold1.csv.gz", "by hand", "2020-02-01T00:00:00.123456Z", "0.98765")
    by_hand("fast-fold2.csv.gz", f"x (sha256 {rows[2]['sha256'][:12]})", "2020-03-01T00:00:00.0Z", "0.3")
    by_hand("fast-fold2.csv.gz", f"x (sha256 {'0' * 12})", "2020-03-02T00:00:00.0Z", "0.4")
    for number in range(120):  # more than a page
        by_hand(f"old{number}.csv", "", "2018-02-01T00:00:00.0Z", "0.1")
    changed, unknown_files = refresh(sign_in(), Ledger.beside(folds[0]))
    assert changed == 2
    assert {"other.csv", "fast-fold0.csv.gz", "old0.csv", "old119.csv"} <= set(unknown_files)
    found = {row["submission"]: (row["board"], row["public"], row["when"]) for row in _rows(folds)}
    assert found == {
        "fast-fold0.csv.gz": ("", "", "2020-01-01T00:00:00Z"),
        "fast-fold1.csv.gz": ("kaggle", "0.987650", "2020-02-01T00:00:00Z"),
        "fast-fold2.csv.gz": ("kaggle", "0.300000", "2020-03-01T00:00:00Z"),
    }


@pytest.mark.parametrize(
    "way",
    [
        *("token", "token file", "access_token", "key", "key file", "login", "notebook"),
        *("expired", "revoked key"),
    ],
)
def test_every_way_to_sign_in(
    kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    home = tmp_path / "home" / ".kaggle"
    settings = tmp_path / "home" / "settings"
    for folder in (home, settings):
        folder.mkdir(parents=True)
    match way:
        case "token":
            monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        case "token file":
            (tmp_path / "token").write_text(TOKEN + "\n")
            monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
        case "access_token":
            (home / "access_token").write_text(TOKEN)
        case "login":  # what `kaggle auth login` leaves
            known = {"refresh_token": "r", "access_token": TOKEN, "username": USER}
            known["access_token_expiration"] = "2999-01-01T00:00:00+00:00"
            (home / "credentials.json").write_text(json.dumps(known))
        case "notebook":
            (tmp_path / "token").write_text(TOKEN)
            monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
            monkeypatch.setenv("KAGGLE_DATA_PROXY_URL", "http://localhost/proxy")
            monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(tmp_path / "token"))
        case "expired":
            monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_another")
        case "key" | "revoked key":
            monkeypatch.setenv("KAGGLE_USERNAME", USER)
            monkeypatch.setenv("KAGGLE_KEY", KEY if way == "key" else "revoked")
        case "key file":
            (settings / "kaggle.json").write_text(f'{{"username": "{USER}", "key": "{KEY}"}}')
    if way == "expired":
        with pytest.raises(UserError, match="KAGGLE_API_TOKEN: Kaggle refuses this token"):
            sign_in()
    elif way == "revoked key":
        with pytest.raises(UserError, match=r"\(401 Unauthorized\); make a token"):
            list(submissions(sign_in()))
    else:
        assert list(submissions(sign_in())) == []


def test_without_credentials_one_line_says_how_to_get_some(
    kaggle: KaggleStandIn, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(
        UserError, match=r"no Kaggle credentials; make a token at https://www\.kaggle\.com/settings/api"
    ):
        sign_in()
    assert "".join(capfd.readouterr()) == ""


def test_verbose_does_not_show_credentials(
    board: KaggleStandIn, folds: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("VERBOSE", "1")
    submit(folds[:1])
    assert TOKEN not in "".join(capfd.readouterr())
    assert TOKEN not in Ledger.beside(folds[0]).path.read_text()
    assert set(_rows(folds)[0]) == set(COLUMNS)


def test_no_network_is_one_line(signed_in: KaggleStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UserError, match="sign in to Kaggle: the connection to Kaggle was not made"):
        sign_in()
