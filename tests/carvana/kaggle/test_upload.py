"""Upload, and scores in the ledger: Kaggle's own client talks HTTP to a stand-in on the loopback."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from tests.kaggle_stand_in import SIGNATURE, TOKEN, KaggleStandIn, Refusal

from carvana.errors import UserError
from carvana.kaggle import upload
from carvana.kaggle.client import sign_in
from carvana.kaggle.scores import refresh_scores
from carvana.kaggle.upload import remaining_submissions
from carvana.submission.csv_file import write_submission
from carvana.submission.ledger import COLUMNS, Ledger

submit = partial(upload.submit, first_pause_s=0)


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
        path.parent.mkdir(exist_ok=True)
        with write_submission(path) as write_row:
            for place, (name, mask) in enumerate(zip(truth["img"], truth["rle_mask"], strict=True)):
                write_row(name, "1 9" if place % 16 < 4 - fold else mask)
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


def test_a_file_is_submitted_once(
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
    submit(folds[:2])  # only the new one is uploaded
    assert "fast-fold0.csv.gz: was submitted on" in capsys.readouterr().out
    assert [one["fileName"] for one in board.submissions] == ["fast-fold0.csv.gz", "fast-fold1.csv.gz"]
    submit(folds[:1], again=True)
    assert len(board.submissions) == 3
    assert _on_board(folds).count("fast-fold0.csv.gz") == 1


def test_the_daily_limit_is_printed_and_respected(
    board: KaggleStandIn, folds: list[Path], capsys: pytest.CaptureFixture
) -> None:
    board.daily_limit = 2
    with pytest.raises(
        UserError, match=r"fold2.* limit is reached, 1 of 3 were not submitted; .* midnight UTC"
    ):
        submit(folds)
    assert "Kaggle accepts 2 more submissions today" in capsys.readouterr().out
    assert len(board.submissions) == 2
    assert [row["public"] for row in _rows(folds) if row["board"]] == ["0.750000", "0.812500"]
    board.submissions[0]["old"] = True  # the next day
    submit(folds)
    assert _on_board(folds) == [path.name for path in folds]


def test_an_account_without_a_team_has_no_limit(board: KaggleStandIn) -> None:
    board.on_a_team = False
    assert remaining_submissions(sign_in()) is None


RULES = "You must accept this competition's rules before you'll be able to submit."


@pytest.mark.parametrize(
    ("request_name", "refusal", "message"),
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
        ("CreateSubmission", Refusal(200, "5 of 5 used"), r"Kaggle did not accept it \(5 of 5 used\)"),
        ("CreateSubmission", Refusal(502), r"internal error \(502"),
        ("GetSubmissionLimits", Refusal(429, "Too many requests"), r"\(429 .*; wait some minutes"),
        ("upload", Refusal(410), "the upload failed; run the same command again"),
        ("upload", Refusal(503), "the upload failed; run the same command again"),
    ],
)
def test_each_refusal_has_a_message_of_its_own(
    board: KaggleStandIn,
    folds: list[Path],
    capfd: pytest.CaptureFixture,
    request_name: str,
    refusal: Refusal,
    message: str,
) -> None:
    board.refusals[request_name] = refusal
    before = _rows(folds)
    with pytest.raises(UserError, match=message) as error:
        submit(folds[:1])
    assert "\n" not in str(error.value)
    assert _rows(folds) == before
    assert board.submissions == []
    printed = str(error.value) + "".join(capfd.readouterr())
    assert TOKEN not in printed
    assert SIGNATURE not in printed


def test_an_interrupted_upload_is_repeated(board: KaggleStandIn, folds: list[Path]) -> None:
    board.cut_upload = True
    submit(folds[:1])
    assert Path(board.submissions[0]["path"]).read_bytes() == folds[0].read_bytes()


def test_a_submission_with_a_lost_response_counts_once(board: KaggleStandIn, folds: list[Path]) -> None:
    board.lose_response_of = "CreateSubmission"
    (row,) = submit(folds[:1])
    assert (row["board"], row["public"]) == ("kaggle", "0.750000")
    with pytest.raises(UserError, match="was submitted on"):
        submit(folds[:1])
    assert len(board.submissions) == 1


def test_a_lost_response_before_the_submission_leaves_the_ledger_unchanged(
    board: KaggleStandIn, folds: list[Path]
) -> None:
    board.lose_response_of = "StartSubmissionUpload"
    before = _rows(folds)
    with pytest.raises(UserError, match=r"connection to Kaggle failed .* Nothing was submitted"):
        submit(folds[:1])
    assert _rows(folds) == before


def test_a_failed_scoring_is_reported_and_leaves_the_board(board: KaggleStandIn, folds: list[Path]) -> None:
    before = _rows(folds)
    with write_submission(folds[0]) as write_row:
        write_row("00000000000a_01.jpg", "1 1")
    with pytest.raises(
        UserError, match=r"fold0\.csv\.gz: Kaggle could not score it \(ERROR: 32 images are missing"
    ):
        submit(folds[:2])
    assert _on_board(folds) == ["fast-fold1.csv.gz"]
    assert [row["board"] for row in _rows(folds) if row["submission"] == "fast-fold0.csv.gz"] == [""]
    assert len(_rows(folds)) == len(before)


def test_an_error_while_waiting_is_tried_again(
    board: KaggleStandIn, folds: list[Path], capsys: pytest.CaptureFixture
) -> None:
    board.refusals["ListSubmissions"] = Refusal(
        503, times=1, after=1
    )  # the first request precedes the upload
    (row,) = submit(folds[:1])
    assert row["public"] == "0.750000"
    assert "trying again" in capsys.readouterr().out


def test_verbose_does_not_show_credentials(
    board: KaggleStandIn, folds: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("VERBOSE", "1")
    submit(folds[:1])
    assert TOKEN not in "".join(capfd.readouterr())
    assert TOKEN not in Ledger.beside(folds[0]).path.read_text()
    assert set(_rows(folds)[0]) == set(COLUMNS)


def test_late_scores_are_added_by_refresh(
    board: KaggleStandIn, folds: list[Path], capsys: pytest.CaptureFixture
) -> None:
    board.pending_for = 3
    (row,) = submit(folds[:1], wait_s=0)
    assert (row["board"], row["public"]) == ("kaggle", "")
    ledger = Ledger.beside(folds[0])
    command = f"`./run.sh compare --refresh --ledger {ledger.path}`"
    assert f"not scored yet; {command} gets its score later" in capsys.readouterr().out
    assert refresh_scores(sign_in(), ledger) == (0, [])
    board.pending_for = 0
    assert refresh_scores(sign_in(), ledger) == (1, [])
    assert ledger.find(row["submission"], row["sha256"], "kaggle")["public"] == "0.750000"
    assert refresh_scores(sign_in(), ledger) == (0, [])


def test_refresh_matches_files_that_were_submitted_by_hand(board: KaggleStandIn, folds: list[Path]) -> None:
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
    by_hand("fast-fold0.csv.gz", "by hand", "2019-02-01T00:00:00.0Z", "0.2")  # before the row: another file
    by_hand("fast-fold1.csv.gz", "by hand", "2020-02-01T00:00:00.123456Z", "0.98765")
    by_hand("fast-fold2.csv.gz", f"x (sha256 {rows[2]['sha256'][:12]})", "2020-03-01T00:00:00.0Z", "0.3")
    by_hand("fast-fold2.csv.gz", f"x (sha256 {'0' * 12})", "2020-03-02T00:00:00.0Z", "0.4")
    for number in range(120):  # more than a page
        by_hand(f"old{number}.csv", "", "2018-02-01T00:00:00.0Z", "0.1")
    changed, unknown_files = refresh_scores(sign_in(), Ledger.beside(folds[0]))
    assert changed == 2
    assert {"other.csv", "fast-fold0.csv.gz", "old0.csv", "old119.csv"} <= set(unknown_files)
    found = {row["submission"]: (row["board"], row["public"], row["when"]) for row in _rows(folds)}
    assert found == {
        "fast-fold0.csv.gz": ("", "", "2020-01-01T00:00:00Z"),
        "fast-fold1.csv.gz": ("kaggle", "0.987650", "2020-02-01T00:00:00Z"),
        "fast-fold2.csv.gz": ("kaggle", "0.300000", "2020-03-01T00:00:00Z"),
    }
