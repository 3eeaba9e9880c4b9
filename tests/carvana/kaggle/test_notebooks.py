"""A notebook from its push to its output: Kaggle's own client talks HTTP to a stand-in with scripted sessions."""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.kaggle_stand_in import COMPLETE, ERROR, TOKEN, KaggleStandIn, Refusal, Scripted, Session

from carvana.errors import UserError
from carvana.kaggle import notebooks
from carvana.kaggle.manifest import FileEntry, Manifest
from carvana.kaggle.notebooks import NotebookJob
from carvana.kaggle.options import NotebookOptions
from carvana.kaggle.push import Attachments
from carvana.kaggle.records import Outcome, Record, read_notebook_record
from carvana.kaggle.session.settings import SessionSettings
from carvana.locks import is_locked

RESULTS = {"runs/fast/fold-0/model.keras": b"weights" * 9_000, "runs/fast/fold-0/scores.csv": b"img,dice\n"}
SETTINGS = SessionSettings(
    step="train",
    recipe="fast",
    recipe_argument="fast",
    folds=(0,),
    fold_argument="0",
    key="0123456789abcdef",
    hours=12.0,
    parts=("train", "train_masks"),
    table="folds/carvana-5.csv",
)


@dataclass
class Installed:
    """What the output was installed as, by path."""

    files: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, manifest: Manifest, folder: Path) -> None:
        assert is_locked(folder.parent.with_suffix(".lock"))
        self.files = {name: (folder / name).read_bytes() for name in manifest.files}


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own handling of Ctrl-C, which the scripts change when they are imported."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def installed() -> Installed:
    return Installed()


@pytest.fixture
def job(tmp_path: Path, installed: Installed) -> NotebookJob:
    extra = {"folds/carvana-5.csv": b"car,fold\n"}
    return NotebookJob(SETTINGS, extra, Attachments(), tmp_path / "runs", ["runs/fast/fold-0/"], installed)


def run(job: NotebookJob, *, fresh: bool = False, **options: object) -> bool:
    return notebooks.run_on_kaggle(job, NotebookOptions(**options), fresh=fresh, first_pause_s=0.01)


def error_of(job: NotebookJob, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        run(job, **options)
    assert "secret" not in str(caught.value)
    return str(caught.value)


def output(files: Mapping[str, bytes] = RESULTS, **changes: object) -> dict[str, bytes]:
    """The files of an output with their manifest."""
    entries = {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    values = {"key": SETTINGS.key, "bundle": "b", "finished": True, "files": entries, "machine": "Tesla T4"}
    manifest = Manifest(**values | changes)
    entries_as_json = {name: vars(entry) for name, entry in manifest.files.items()}
    state_as_json = {name: vars(entry) for name, entry in manifest.state.items()}
    text = json.dumps(vars(manifest) | {"format": 1, "files": entries_as_json, "state": state_as_json})
    return dict(files) | {"manifest.json": text.encode()}


def sessions(kaggle: KaggleStandIn) -> list[Session]:
    """All sessions of the only notebook."""
    (found,) = kaggle.kernels.kernels.values()
    return found


def test_push_follow_and_fetch(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed, capsys: pytest.CaptureFixture
) -> None:
    signed_in.kernels.run = Scripted(output(), lines=("epoch 1", " of 2\n", "epoch 2 of 2\n", "end"))
    assert run(job)
    assert installed.files == RESULTS
    (session,) = sessions(signed_in)
    body = session.body
    assert body["slug"] == "someone/carvana-train-fast-01234567"
    assert (body["isPrivate"], body["enableGpu"], body["machineShape"]) == (True, True, "NvidiaTeslaT4")
    assert body["sessionTimeoutSeconds"] == 12 * 3600
    assert body["competitionDataSources"] == ["carvana-image-masking-challenge"]
    text = capsys.readouterr().out
    assert text.count("epoch 1 of 2\nepoch 2 of 2\nend\n") == 1
    assert "GPU quota: 30.0 of 30 hours are left this week" in text
    assert "computed on Tesla T4" in text
    assert not list(job.folder.glob("version-*"))


def test_the_same_command_fetches_again_what_was_fetched(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    signed_in.kernels.run = Scripted(output())
    run(job)
    installed.files = {}
    run(job)
    assert installed.files == RESULTS
    assert len(sessions(signed_in)) == 1


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_detaches_and_the_same_command_follows_again(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    runner = Scripted(output(), waits=True)
    signed_in.kernels.run = runner

    def press_ctrl_c() -> None:
        while "stream" not in signed_in.requests:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_ctrl_c, daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match="detached from version 1, which goes on and uses the quota"):
        run(job)
    runner.go_on.set()
    assert run(job)
    assert installed.files == RESULTS
    assert len(sessions(signed_in)) == 1


def test_detach_pushes_and_returns(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed, tmp_path: Path
) -> None:
    runner = Scripted(output(), waits=True)
    signed_in.kernels.run = runner
    assert not run(job, detach=True)
    assert not run(job, detach=True)
    runner.go_on.set()
    elsewhere = replace(job, runs=tmp_path / "another clone")  # which has no record of the push
    assert run(elsewhere)
    assert installed.files == RESULTS
    assert len(sessions(signed_in)) == 1


def test_a_push_whose_response_was_lost_is_not_repeated(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    signed_in.kernels.run, signed_in.lose_response_of = Scripted(output()), "SaveKernel"
    assert "the connection to Kaggle failed or was interrupted" in error_of(job)
    assert run(job)
    assert installed.files == RESULTS
    assert len(sessions(signed_in)) == 1


def test_a_notebook_that_kaggle_does_not_tell_from_anothers_private_one(
    signed_in: KaggleStandIn, job: NotebookJob
) -> None:
    signed_in.kernels.run = Scripted(output())
    signed_in.refusals["GetKernel"] = Refusal(403, "Permission 'kernels.get' was denied")
    assert run(job)


def test_a_second_command_waits_for_the_first(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    runner = Scripted(output(), waits=True)
    signed_in.kernels.run = runner
    with ThreadPoolExecutor() as commands:
        first = commands.submit(run, job)
        while "stream" not in signed_in.requests:
            time.sleep(0.01)
        second = commands.submit(run, job)
        assert not second.done()
        runner.go_on.set()
        assert first.result()
        assert second.result()
    assert installed.files == RESULTS
    assert len(sessions(signed_in)) == 1


def test_a_dry_run_sends_nothing(
    signed_in: KaggleStandIn, job: NotebookJob, capsys: pytest.CaptureFixture
) -> None:
    assert not run(job, dry_run=True, hours=3.0, offline=True)
    assert signed_in.requests == []
    script = (job.folder / "carvana.py").read_text()
    metadata = json.loads((job.folder / "kernel-metadata.json").read_text())
    compile(script, "carvana.py", "exec")
    assert TOKEN not in script
    assert (metadata["enable_internet"], metadata["is_private"], metadata["code_file"]) == (
        False,
        True,
        "carvana.py",
    )
    text = capsys.readouterr().out
    assert "private, two T4 GPUs, without internet, at most 3 hours" in text
    assert "nothing was sent" in text
    run(job, dry_run=True, hours=3.0, offline=True)
    assert (job.folder / "carvana.py").read_text() == script


@pytest.mark.parametrize(
    ("used_h", "hours", "message"),
    [
        (
            28.0,
            12.0,
            r"2\.0 of 30 hours are left this week, and the session may take 12; give --hours 2, or wait",
        ),
        (
            18.03,
            12.0,
            r"11\.9 of 30 hours are left this week, and the session may take 12; give --hours 11\.9, or",
        ),
        (29.9, 1.0, r"0\.1 of 30 hours are left this week, and the session may take 1; wait until"),
        (28.0, 2.0, ""),
    ],
)
def test_too_little_quota(
    signed_in: KaggleStandIn, job: NotebookJob, used_h: float, hours: float, message: str
) -> None:
    signed_in.kernels.quota_s = used_h * 3600, 30 * 3600
    signed_in.kernels.run = Scripted(output())
    if not message:
        assert run(job, hours=hours)
        return
    with pytest.raises(UserError, match=message):
        run(job, hours=hours)
    assert "SaveKernel" not in signed_in.requests


def test_a_refused_push(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.kernels.push_error = "Maximum batch GPU session count of 2 reached."
    assert "Kaggle refuses it (Maximum batch GPU session count of 2 reached.)" in error_of(job)
    signed_in.kernels.push_error = ""
    signed_in.refusals["SaveKernel"] = Refusal(403, "Phone verification is required")
    assert error_of(job).endswith("Kaggle refuses (403 Phone verification is required)")
    signed_in.refusals.clear()
    signed_in.kernels.renamed = "someone/another"
    assert "Kaggle named the notebook another" in error_of(job)


def test_sources_that_were_not_attached(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.kernels.competitions = ()
    signed_in.kernels.run = Scripted(state=ERROR)
    job = replace(job, attachments=Attachments(datasets=["someone/wheels"]))
    assert "did not attach carvana-image-masking-challenge, someone/wheels" in error_of(job)
    assert "version 1 of someone/carvana-train-fast-01234567 failed" in error_of(job)
    signed_in.kernels.competitions = ("carvana-image-masking-challenge",)
    signed_in.kernels.datasets["someone/wheels"] = job.runs
    signed_in.kernels.run = Scripted(output())
    assert run(job)
    assert len(sessions(signed_in)) == 2


def test_a_version_that_ends_well_without_a_source_is_fetched(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    signed_in.kernels.run = Scripted(output())
    job = replace(job, attachments=Attachments(datasets=["someone/mistyped"]))
    assert "If the version fails, run the same command again" in error_of(job)
    assert run(job)
    assert installed.files == RESULTS
    assert len(sessions(signed_in)) == 1


def test_a_failed_session_shows_its_last_lines_and_is_pushed_again(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed, capsys: pytest.CaptureFixture
) -> None:
    lines = tuple(f"line {number}\n" for number in range(30))
    signed_in.kernels.run = Scripted(output(), lines, ERROR, "Your notebook tried to allocate more memory")
    message = error_of(job)
    assert "failed (Your notebook tried to allocate more memory); nothing was fetched" in message
    text = capsys.readouterr().out
    assert "    line 29\n" in text
    assert "    line 14\n" not in text
    assert installed.files == {}
    signed_in.kernels.run = Scripted(output())
    assert run(job)
    assert [session.number for session in sessions(signed_in)] == [1, 2]
    assert sessions(signed_in)[1].body.get("kernelDataSources", []) == []


def test_a_cancelled_session(signed_in: KaggleStandIn, job: NotebookJob, installed: Installed) -> None:
    signed_in.kernels.run = Scripted(output(), state="CANCEL_ACKNOWLEDGED")
    assert "was cancelled; nothing was fetched" in error_of(job)
    assert installed.files == {}


def test_a_session_without_a_manifest_was_killed(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    signed_in.kernels.run = Scripted(RESULTS)
    assert "lacks manifest.json: the session was ended before it had saved its output" in error_of(job)
    assert installed.files == {}
    signed_in.kernels.run = Scripted(output())
    assert run(job)


def test_a_session_whose_time_was_over_is_continued_by_the_next_version(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    signed_in.kernels.run = Scripted(output(finished=False))
    assert "the same command pushes the next version, which continues from there" in error_of(job)
    assert installed.files == RESULTS
    signed_in.kernels.run = Scripted(state=ERROR)
    error_of(job)
    signed_in.kernels.run = Scripted(output())
    assert run(job)
    attached = [session.body.get("kernelDataSources", []) for session in sessions(signed_in)]
    assert attached == [[], ["someone/carvana-train-fast-01234567"], ["someone/carvana-train-fast-01234567"]]


def test_what_was_finished_before_a_failure_is_fetched_and_continued(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    failure = "train.py failed with exit status 1"
    signed_in.kernels.run = Scripted(output(finished=False, failure=failure))
    message = error_of(job)
    assert "failed (train.py failed with exit status 1); what was finished before was fetched" in message
    assert installed.files == RESULTS
    signed_in.kernels.run = Scripted(output())
    assert run(job)
    attached = [session.body.get("kernelDataSources", []) for session in sessions(signed_in)]
    assert attached == [[], ["someone/carvana-train-fast-01234567"]]


def test_fresh_starts_again_after_a_failure(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.kernels.run = Scripted(output(finished=False, failure="train.py failed with exit status 1"))
    with pytest.raises(UserError, match="failed"):
        run(job, fresh=True)
    signed_in.kernels.run = Scripted(output())
    assert run(job, fresh=True)
    assert sessions(signed_in)[1].body.get("kernelDataSources", []) == []


def test_a_lost_connection_while_following_repeats_no_line(
    signed_in: KaggleStandIn, job: NotebookJob, capsys: pytest.CaptureFixture
) -> None:
    runner = Scripted(output(), lines=("one\n", "two", " and more\n", "three\n"), waits=True)
    signed_in.kernels.run, signed_in.kernels.cut_log_after = runner, 2

    def stream_again() -> None:
        while signed_in.requests.count("stream") < 2:
            time.sleep(0.01)
        runner.go_on.set()

    threading.Thread(target=stream_again, daemon=True).start()
    assert run(job)
    assert capsys.readouterr().out.count("one\ntwo and more\nthree\n") == 1


def test_errors_of_kaggle_while_following_are_waited_out(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.kernels.run = Scripted(output())
    signed_in.refusals["GetKernelSessionStatus"] = Refusal(500, "down", times=3)
    signed_in.refusals["log"] = Refusal(429, "slowly", times=2)
    assert run(job)


@pytest.mark.parametrize(("status", "times"), [(500, 25), (404, 1_000)])
def test_following_goes_on_without_the_live_log(
    signed_in: KaggleStandIn, job: NotebookJob, capsys: pytest.CaptureFixture, status: int, times: int
) -> None:
    runner = Scripted(output(), lines=("one\n", "two\n"), waits=True)
    signed_in.kernels.run = runner
    signed_in.refusals["log"] = Refusal(status, times=times)

    def let_it_end() -> None:
        while signed_in.requests.count("GetKernelSessionStatus") < 24:
            time.sleep(0.01)
        runner.go_on.set()

    threading.Thread(target=let_it_end, daemon=True).start()
    assert notebooks.run_on_kaggle(job, NotebookOptions(), first_pause_s=1e-5)
    text = capsys.readouterr().out
    assert text.count("one\ntwo\n") == 1
    assert text.count("the log is printed when the session has ended") == (status == 404)


def test_following_ends_when_kaggle_refuses(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.refusals["GetKernelSessionStatus"] = Refusal(401, "Unauthenticated")
    assert "get the status of someone/carvana-train-fast-01234567: Kaggle refuses (401" in error_of(job)


def test_a_lost_connection_while_fetching_continues_there(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    name = next(iter(RESULTS))
    large = {name: os.urandom(3_000_000)}
    signed_in.kernels.run = Scripted(output(large))
    signed_in.cut_download_at = 2_000_000
    signed_in.cut_only = "model.keras"
    assert run(job)
    assert installed.files == large
    assert signed_in.ranges == [f"bytes={1 << 20}-"]


def test_a_manifest_that_kaggle_refuses_to_send_is_fetched_later(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    signed_in.kernels.run = Scripted(output())
    signed_in.refusals["download"] = Refusal(403)
    assert "fetch manifest.json: Kaggle refuses (403" in error_of(job)
    signed_in.refusals.clear()
    assert run(job, detach=True)  # the session has ended: there is nothing to wait for
    assert installed.files == RESULTS
    assert len(sessions(signed_in)) == 1


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_error_page_in_place_of_a_file(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed, status: int
) -> None:
    signed_in.kernels.run = Scripted(output())
    signed_in.refusals["download"] = Refusal(status, after=1)  # the manifest is sent
    assert (
        f"fetch runs/fast/fold-0/model.keras: Kaggle {'has an internal error' if status == 500 else 'refuses'}"
        in (error_of(job))
    )
    assert installed.files == {}
    signed_in.refusals.clear()
    assert run(job)  # fetches, and pushes nothing
    assert len(sessions(signed_in)) == 1


@pytest.mark.parametrize("content", [b"<html>Error</html>", b"Weights" * 9_000, b"weights" * 9_001])
def test_a_file_that_is_not_the_manifests_is_never_installed(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed, content: bytes
) -> None:
    signed_in.kernels.run = Scripted(output())
    signed_in.kernels.replaced["runs/fast/fold-0/model.keras"] = content
    assert "is not the file of the manifest" in error_of(job)
    assert installed.files == {}


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "runs/fast/fold-0/../../../x", "runs\\x", "runs/fast/fold-0//x", ""]
)
def test_paths_that_lead_out_of_the_folder(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed, name: str
) -> None:
    signed_in.kernels.run = Scripted(output({}) | {"manifest.json": output({name: b"x"})["manifest.json"]})
    signed_in.kernels.extra_names[name] = b"x"
    assert "leads out of the folder; nothing is fetched" in error_of(job)
    assert installed.files == {}


def test_files_that_are_no_results_of_the_command(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    signed_in.kernels.run = Scripted(output({"runs/other/fold-0/model.keras": b"x"}))
    assert "the output has runs/other/fold-0/model.keras, which is no result of this command" in error_of(job)
    assert installed.files == {}


def test_a_file_that_the_output_lacks(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.kernels.run = Scripted(output())
    signed_in.kernels.hidden.add("runs/fast/fold-0/scores.csv")
    assert "lacks runs/fast/fold-0/scores.csv, which its manifest lists" in error_of(job)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"format": 2, "key": "k"}', b'{"format": 1}'])
def test_a_malformed_manifest(signed_in: KaggleStandIn, job: NotebookJob, content: bytes) -> None:
    signed_in.kernels.run = Scripted({"manifest.json": content})
    assert "manifest.json" in error_of(job)


def test_another_commands_output(signed_in: KaggleStandIn, job: NotebookJob, installed: Installed) -> None:
    signed_in.kernels.run = Scripted(output(key="another"))
    assert "version 1 is the output of another command" in error_of(job)
    assert installed.files == {}


def test_a_version_is_fetched_although_a_newer_one_was_pushed_meanwhile(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed
) -> None:
    first = Scripted(output(), waits=True)

    def push_another(session: Session) -> None:
        if session.number == 1:
            signed_in.kernels.SaveKernel(session.body)
            first.go_on.set()
            first(session)
        else:
            Scripted({}, state=ERROR)(session)

    signed_in.kernels.run = push_another
    assert run(job)
    assert installed.files == RESULTS
    assert sessions(signed_in)[0].state == COMPLETE


def test_fresh_pushes_again_but_not_beside_a_running_session(
    signed_in: KaggleStandIn, job: NotebookJob
) -> None:
    runner = Scripted(output(finished=False), waits=True)
    signed_in.kernels.run = runner
    run(job, detach=True)
    with pytest.raises(UserError, match="--fresh: version 1 is running"):
        run(job, fresh=True)
    runner.go_on.set()
    error_of(job)
    signed_in.kernels.run = Scripted(output())
    assert run(job, fresh=True)
    assert sessions(signed_in)[1].body.get("kernelDataSources", []) == []


@pytest.mark.parametrize("again", [True, False])
def test_a_fresh_version_is_followed_and_continued_with_fresh_and_without(
    signed_in: KaggleStandIn, job: NotebookJob, installed: Installed, again: bool
) -> None:
    signed_in.kernels.run = Scripted(output())
    run(job)
    runner = Scripted(output(finished=False), waits=True)
    signed_in.kernels.run = runner
    run(job, fresh=True, detach=True)
    assert read_notebook_record(job.record).is_replacing
    runner.go_on.set()
    with pytest.raises(UserError, match="the same command pushes the next version"):
        run(job, fresh=again)
    signed_in.kernels.run = Scripted(output())
    assert run(job, fresh=again)
    assert not read_notebook_record(job.record).is_replacing
    attached = [session.body.get("kernelDataSources", []) for session in sessions(signed_in)]
    assert attached == [[], [], ["someone/carvana-train-fast-01234567"]]
    assert run(job, fresh=True)
    assert len(sessions(signed_in)) == 4


def test_a_version_without_a_session_is_waited_for(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    runner = Scripted(output(), waits=True)
    signed_in.kernels.run = runner
    run(job, detach=True)
    signed_in.refusals["GetKernelSessionStatus"] = Refusal(404, "Not found", times=4)
    runner.go_on.set()
    assert run(job)
    assert len(sessions(signed_in)) == 1


def test_fresh_pushes_again_after_a_version_that_was_saved_without_a_session(
    signed_in: KaggleStandIn, job: NotebookJob
) -> None:
    signed_in.kernels.run = Scripted(output())
    run(job)
    signed_in.refusals["GetKernelSessionStatus"] = Refusal(404, "Not found", times=1)
    assert run(job, fresh=True)
    assert len(sessions(signed_in)) == 2


def test_a_notebook_that_was_deleted_is_not_attached(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.kernels.run = Scripted(output(finished=False))
    error_of(job)
    signed_in.kernels.delete_all()
    signed_in.kernels.run = Scripted(output())
    assert run(job)
    assert sessions(signed_in)[0].body.get("kernelDataSources", []) == []


def test_the_notebook_of_another_account_is_not_attached(signed_in: KaggleStandIn, job: NotebookJob) -> None:
    signed_in.kernels.run = Scripted(state=ERROR)
    error_of(job)
    Record(f"another/{job.slug}", 1, Outcome.UNFINISHED, continues_from=1).write(job.record)
    assert "version 1 of someone/carvana-train-fast-01234567 failed" in error_of(job)
    signed_in.kernels.run = Scripted(output())
    assert run(job)
    assert sessions(signed_in)[1].body.get("kernelDataSources", []) == []


def test_what_is_fetched_is_recorded_before_it_is_installed(
    signed_in: KaggleStandIn, job: NotebookJob
) -> None:
    signed_in.kernels.run = Scripted(output(finished=False))

    def interrupt(manifest: Manifest, folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(replace(job, install=interrupt))
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in RESULTS.items()}
    assert read_notebook_record(job.record).files == digests
    assert "stopped when its time was over" in error_of(job)  # fetches and installs it now
    assert len(sessions(signed_in)) == 1


def test_without_a_connection(
    signed_in: KaggleStandIn, job: NotebookJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert "the connection to Kaggle failed" in error_of(job)
