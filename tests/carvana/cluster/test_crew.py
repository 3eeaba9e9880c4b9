"""Pieces on real workers: who gets them, and what becomes of them when something dies."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import dask as dask_module
import naps
import numpy as np
import pytest
from conftest import SRC, DaskProcesses, until
from naps import Nap, Naps

from carvana import console
from carvana.backend import keras
from carvana.cluster import connect
from carvana.cluster import crew as crews
from carvana.cluster.crew import crew_at
from carvana.data.folder import test_photos as photos_to_predict
from carvana.data.folder import training_photos
from carvana.data.split import Split
from carvana.errors import InputError
from carvana.leaderboard.entries import entries_of, predict_entries
from carvana.lock import is_held
from carvana.prediction import shards
from carvana.prediction.question import Question, part_of
from carvana.recipe import read_recipe
from carvana.training.folds import TrainingJob, train_elsewhere, train_folds

SMALL = ["width=4", "depth=1", "dropout=0.1", "precision=float32"]
SMALL += ["stages=[{size=[32, 48], epochs=10, batch=4, rate=2e-2}]"]


@pytest.fixture(scope="module")
def table(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fold table of two folds."""
    path = tmp_path_factory.mktemp("folds") / "two.csv"
    cars = sorted({photo.car for photo in training_photos(rendered)})
    path.write_text("car,fold\n" + "".join(f"{car},{n % 2}\n" for n, car in enumerate(cars)))
    return path


@pytest.fixture(scope="module")
def here(rendered: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of both folds, trained in this process."""
    runs = tmp_path_factory.mktemp("here") / "runs"
    train_folds(read_recipe("miniature", SMALL), Split.read(training_photos(rendered), table), [0, 1], runs)
    return runs


def _weights(folder: Path) -> list[np.ndarray]:
    return keras.saving.load_model(folder / "model.keras", compile=False).get_weights()


def _same_runs(runs: Path, others: Path) -> None:
    for fold in ("fold-0", "fold-1"):
        ours, theirs = (folder / "miniature" / fold for folder in (runs, others))
        assert (ours / "scores.csv").read_bytes() == (theirs / "scores.csv").read_bytes()
        for weight, other in zip(_weights(ours), _weights(theirs), strict=True):
            np.testing.assert_array_equal(weight, other)


def _kill_owner(lock: Path) -> None:
    """Kill the process that holds a lock, as no process can help."""
    owner = re.match(r"process (\d+) ", lock.read_text())
    os.kill(int(owner[1]), signal.SIGKILL)


def _meanwhile(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _nap(address: str, folder: Path, pieces: Sequence[Nap]) -> dict[int, dict]:
    crew_at(address)(Naps(folder), pieces)
    return naps.done_in(folder)


def test_a_worker_killed_in_a_fold_is_replaced_and_the_fold_goes_on(
    pair: DaskProcesses,
    rendered: Path,
    table: Path,
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    runs = tmp_path / "runs"

    def kill() -> None:
        fold = runs / "miniature" / "fold-0"
        until((fold / "checkpoint.npz").exists, "the first epoch")
        time.sleep(0.2)
        _kill_owner(fold / ".lock")

    killing = _meanwhile(kill)
    split = Split.read(training_photos(rendered), table)
    job = TrainingJob(rendered, runs, ("miniature",), tuple(SMALL))
    train_elsewhere(crew_at(pair.address), job, [read_recipe("miniature", SMALL)], split, [0, 1])
    killing.join()
    said = capsys.readouterr().out
    assert re.search(r"worker \S+ is gone; miniature fold 0 goes to another", said)
    assert re.search(r"miniature fold 0, \S+: fold 0: goes on after epoch \d+", said)
    assert re.search(r"miniature fold 1, \S+: 48x32 epoch 10/10: loss ", said)
    assert re.search(r"dashboard: http://127.0.0.1:\d+/status", said)
    _same_runs(runs, here)
    assert list(runs.glob("**/.part-*")) == list(runs.glob(".cluster-*")) == []


def test_a_worker_killed_in_a_shard_is_replaced_and_the_bytes_are_the_same(
    pair: DaskProcesses, rendered: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PHOTOS", 10)
    _predict(rendered, here, tmp_path / "here.csv.gz")
    killing = _meanwhile(lambda: _kill_in_a_shard(tmp_path / ".there.shards"))
    _predict(rendered, here, tmp_path / "there.csv.gz", pair.address)
    killing.join()
    assert (tmp_path / "there.csv.gz").read_bytes() == (tmp_path / "here.csv.gz").read_bytes()
    assert not (tmp_path / ".there.shards").exists()


def test_workers_in_network_namespaces_predict_the_same(
    namespaces: tuple[str, list],
    dask: Callable[..., DaskProcesses],
    rendered: Path,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "PHOTOS", 10)
    host, prefixes = namespaces
    processes = dask(host=host)
    for prefix in prefixes:
        processes.worker("--no-nanny", prefix=prefix)
    _predict(rendered, here, tmp_path / "here.csv.gz")
    killing = _meanwhile(lambda: _kill_in_a_shard(tmp_path / ".there.shards"))
    _predict(rendered, here, tmp_path / "there.csv.gz", processes.address)
    killing.join()
    assert (tmp_path / "there.csv.gz").read_bytes() == (tmp_path / "here.csv.gz").read_bytes()


def _predict(data: Path, runs: Path, out: Path, address: str | None = None) -> None:
    question = Question((part_of("miniature", 1.0, runs, SMALL, None),))
    crew = crew_at(address) if address else None
    predict_entries(entries_of(question, out), photos_to_predict(data), crew)


def _kill_in_a_shard(folder: Path) -> None:
    """Kill whoever writes the second shard, while it does."""
    (lock,) = until(lambda: list(folder.glob(".00001-*.lock")), "the second shard")
    until(lambda: list(folder.glob(".part-00001-*")), "the second shard's beginning")
    _kill_owner(lock)


def test_a_piece_takes_the_gpu_and_a_worker_has_one_piece_at_a_time(
    pair: DaskProcesses, tmp_path: Path
) -> None:
    done = _nap(pair.address, tmp_path, [Nap(tmp_path, number) for number in range(12)])
    assert sorted(done) == list(range(12))
    for worker in {one["worker"] for one in done.values()}:
        mine = sorted((one for one in done.values() if one["worker"] == worker), key=lambda one: one["began"])
        for one, following in itertools.pairwise(mine):
            assert one["ended"] <= following["began"]
    taken = [one["resources"] for one in done.values()]
    assert {"GPU": 0, "carvana": 0} in taken and {"carvana": 0} in taken


def test_workers_that_join_late_get_work_if_they_see_the_same(
    pair: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(console, "say", said.append)
    source = shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "train.py").write_text("# another version\n" + (source / "train.py").read_text())
    late: list[subprocess.Popen] = []

    def join() -> None:
        until((tmp_path / "1.begun").exists, "both workers' work")
        late.extend([pair.worker(), pair.worker(source=source), pair.worker(source=None)])
        until(lambda: sum("it gets no work" in line for line in said) == 2, "two strangers")
        until((tmp_path / "2.begun").exists, "the late one's work")
        (tmp_path / "alarm").touch()

    joining = _meanwhile(join)
    try:
        done = _nap(pair.address, tmp_path, [Nap(tmp_path, n, alarm=tmp_path / "alarm") for n in range(4)])
        joining.join()
        joined, stranger, bare = (pair.address_of(worker) for worker in late)
        assert done[2]["worker"] == joined
        assert len({done[n]["worker"] for n in range(3)}) == 3

        with pytest.raises(InputError) as refused:
            _nap(pair.address, tmp_path, [Nap(tmp_path, 9)])
        line = str(refused.value)
        short = stranger.removeprefix("tcp://")
        assert re.search(rf"worker {short} differs in the code \(\w+, here \w+\);", line)
        assert f"worker {bare.removeprefix('tcp://')} lacks a part (" in line and "'carvana'" in line
        assert line.endswith("nothing was begun") and joined.removeprefix("tcp://") not in line
        assert not (tmp_path / "9.begun").exists()
    finally:
        for worker in late:
            pair.end(worker)


def test_a_piece_that_fails_or_kills_its_workers_is_named_and_the_others_are_done(
    pair: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "_DEATHS", 0)
    pieces = [Nap(tmp_path, 0, "badly"), Nap(tmp_path, 1, "killed"), *(Nap(tmp_path, n) for n in range(2, 6))]
    with pytest.raises(InputError) as failed:
        _nap(pair.address, tmp_path, pieces)
    assert "nap 0: a bad dream" in str(failed.value)
    assert "nap 1: 1 workers died in it" in str(failed.value)
    assert sorted(naps.done_in(tmp_path)) == [2, 3, 4, 5]


def test_without_the_scheduler_a_command_ends_in_one_line_and_goes_on_anywhere(
    dask: Callable[..., DaskProcesses], rendered: Path, table: Path, here: Path, tmp_path: Path
) -> None:
    processes = dask()
    worker = processes.worker()
    options = ["--recipe", "miniature", "--data", rendered, "--folds", table]
    options += [part for change in SMALL for part in ("--set", change)]
    checkpoint = tmp_path / "runs" / "miniature" / "fold-0" / "checkpoint.npz"

    def train(*more: object) -> subprocess.Popen:
        command = [sys.executable, SRC / "train.py", *options, *more]
        pipe = subprocess.PIPE
        return subprocess.Popen(list(map(str, command)), cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)

    training = train("--cluster", processes.address)
    until(checkpoint.exists, "the first epoch")
    training.send_signal(signal.SIGINT)
    _, line = training.communicate(timeout=30)
    assert training.returncode == 130
    assert line == "stopped; what is finished is kept, and the same command goes on from there\n"
    until(lambda: not is_held(checkpoint.with_name(".lock")), "the worker's end of the fold")

    before = checkpoint.stat().st_mtime_ns
    training = train("--cluster", processes.address)
    until(lambda: checkpoint.stat().st_mtime_ns > before, "another epoch")
    processes.end(processes.scheduler)
    _, line = training.communicate(timeout=30)
    assert training.returncode == 1
    assert re.fullmatch(r"error: the scheduler at \S+ is gone; what is finished is kept, .*\n", line)
    until(lambda: worker.poll() is not None, "the worker's end")

    training = train()
    said, line = training.communicate(timeout=120)
    assert training.returncode == 0, line
    assert "fold 0: goes on after epoch" in said
    _same_runs(tmp_path / "runs", here)


def test_tls_settings_are_dasks_own(
    dask: Callable[..., DaskProcesses], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=carvana", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    processes = dask("--tls-ca-file", str(certificate), "--tls-cert", str(certificate), "--tls-key", str(key))
    processes.worker("--no-nanny")
    with pytest.raises(InputError, match=r"--cluster tls://.*: no Dask scheduler answers there"):
        _nap(processes.address, tmp_path, [Nap(tmp_path, 0)])
    settings = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    with dask_module.config.set(
        {f"distributed.comm.tls.{name}": str(path) for name, path in settings.items()}
    ):
        assert list(_nap(processes.address, tmp_path, [Nap(tmp_path, 0)])) == [0]


def test_nobody_at_the_address_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_ANSWER_S", 1)
    with pytest.raises(InputError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers there \("):
        _nap("tcp://127.0.0.1:9", tmp_path, [Nap(tmp_path, 0)])
    for wrong in ("local:", "local:0", "local:two", "carrier-pigeon://here"):
        with pytest.raises(InputError, match=f"--cluster {wrong}: "):
            _nap(wrong, tmp_path, [Nap(tmp_path, 0)])
