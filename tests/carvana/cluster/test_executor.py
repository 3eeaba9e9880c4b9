"""Pieces on real workers: who gets them, and what becomes of them when something dies."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dask as dask_module
import numpy as np
import pytest
import sleep_tasks
from conftest import SRC, DaskProcesses, until
from sleep_tasks import Nap, Naps

from carvana import console
from carvana.backend import keras
from carvana.cluster import connection
from carvana.cluster import executor as crews
from carvana.cluster.executor import crew_at
from carvana.data.dataset import train_samples
from carvana.data.split import Split
from carvana.errors import UserError
from carvana.inference import shards
from carvana.locks import is_locked
from carvana.recipe import RECIPES, read_recipe
from carvana.training.cross_validation import train_folds
from predict import Tta, predict
from train import train

SMALL = ["base_filters=4", "depth=1", "dropout=0.1", "precision=float32"]
SMALL += ["stages=[{size=[32, 48], epochs=12, batch_size=4, learning_rate=2e-2}]"]


@pytest.fixture(scope="module")
def table(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fold table of two folds."""
    path = tmp_path_factory.mktemp("folds") / "two.csv"
    cars = sorted({photo.car for photo in train_samples(rendered)})
    path.write_text("car,fold\n" + "".join(f"{car},{n % 2}\n" for n, car in enumerate(cars)))
    return path


@pytest.fixture(scope="module")
def here(rendered: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of fold 0, trained in this process."""
    runs = tmp_path_factory.mktemp("here") / "runs"
    train_folds(read_recipe("miniature", SMALL), Split.read(train_samples(rendered), table), [0], runs)
    return runs / "miniature" / "fold-0"


def _weights(folder: Path) -> list[np.ndarray]:
    return keras.saving.load_model(folder / "model.keras", compile=False).get_weights()


def _same_runs(run: Path, other: Path) -> None:
    assert (run / "scores.csv").read_bytes() == (other / "scores.csv").read_bytes()
    for weight, its in zip(_weights(run), _weights(other), strict=True):
        np.testing.assert_array_equal(weight, its)


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
    return sleep_tasks.done_in(folder)


@pytest.mark.slow
def test_a_worker_killed_in_a_fold_is_replaced_and_the_fold_goes_on(
    pair: DaskProcesses,
    rendered: Path,
    table: Path,
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Two recipes that are the same but in name."""
    shutil.copy(RECIPES / "miniature.toml", tmp_path / "twin.toml")
    runs, recipes = tmp_path / "runs", ["miniature", str(tmp_path / "twin.toml")]

    def kill() -> None:
        fold = runs / "miniature" / "fold-0"
        until((fold / "checkpoint.npz").exists, "the first epoch")
        time.sleep(0.2)
        _kill_owner(fold / ".lock")

    killing = _meanwhile(kill)
    train(recipes, rendered, table, fold="0", runs=runs, set_=SMALL, cluster=pair.address)
    killing.join()
    said = capsys.readouterr().out
    assert re.search(r"worker \S+ is gone; miniature fold 0 goes to another", said)
    assert re.search(r"miniature fold 0, \S+: fold 0: goes on after epoch \d+", said)
    assert re.search(r"twin fold 0, \S+: 48x32 epoch 12/12: loss ", said)
    assert re.search(r"dashboard: http://127.0.0.1:\d+/status", said)
    for name in ("miniature", "twin"):
        _same_runs(runs / name / "fold-0", here)
    assert list(runs.glob("**/.part-*")) == list(runs.glob(".cluster-*")) == []

    train(recipes, rendered, table, fold="0", runs=runs, set_=SMALL, cluster="tcp://127.0.0.1:9")
    assert capsys.readouterr().out.count("trained already") == 2


def test_a_worker_killed_in_a_shard_is_replaced_and_the_bytes_are_the_same(
    pair: DaskProcesses, rendered: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _compare_with_a_kill(pair.address, rendered, here, tmp_path, monkeypatch)


@pytest.mark.slow
def test_workers_in_network_namespaces_predict_the_same(
    namespaces: tuple[str, list],
    dask: Callable[..., DaskProcesses],
    rendered: Path,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, prefixes = namespaces
    processes = dask(host=host)
    for prefix in prefixes:
        processes.worker("--no-nanny", prefix=prefix)
    _compare_with_a_kill(processes.address, rendered, here, tmp_path, monkeypatch)


def _compare_with_a_kill(
    address: str, data: Path, run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(shards, "PHOTOS", 10)

    def submit(out: str, cluster: str | None) -> bytes:
        asked = {"fold": "0", "tta": Tta.scales, "set_": SMALL, "keep_maps": True}
        predict("miniature", data=data, runs=run.parents[1], out=Path(out), cluster=cluster, **asked)
        return Path(out).read_bytes()

    plain = submit("here.csv.gz", None)
    killing = _meanwhile(lambda: _kill_in_a_shard(folder / ".there.shards"))
    assert submit("there.csv.gz", address) == plain
    killing.join()
    for path in Path("here-maps").iterdir():
        assert (Path("there-maps") / path.name).read_bytes() == path.read_bytes()
    assert not list(folder.glob(".*.shards"))


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
        until(lambda: sum("it gets no work" in line for line in said) == 2, "two unknown_files")
        until((tmp_path / "2.begun").exists, "the late one's work")
        (tmp_path / "alarm").touch()

    joining = _meanwhile(join)
    try:
        done = _nap(pair.address, tmp_path, [Nap(tmp_path, n, alarm=tmp_path / "alarm") for n in range(4)])
        joining.join()
        merge_models, stranger, bare = (pair.address_of(worker) for worker in late)
        assert done[2]["worker"] == merge_models
        assert len({done[n]["worker"] for n in range(3)}) == 3

        with pytest.raises(UserError) as refused:
            _nap(pair.address, tmp_path, [Nap(tmp_path, 9)])
        line = str(refused.value)
        short = stranger.removeprefix("tcp://")
        assert re.search(rf"worker {short} differs in the code \(\w+, here \w+\);", line)
        assert f"worker {bare.removeprefix('tcp://')} lacks a part (" in line and "'carvana'" in line
        assert line.endswith("nothing was begun") and merge_models.removeprefix("tcp://") not in line
        assert not (tmp_path / "9.begun").exists()
    finally:
        for worker in late:
            pair.end(worker)


def test_a_piece_that_fails_or_kills_its_workers_is_named_and_the_others_are_done(
    pair: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "_DEATHS", 0)
    pieces = [Nap(tmp_path, 0, "badly"), Nap(tmp_path, 1, "killed"), *(Nap(tmp_path, n) for n in range(2, 6))]
    with pytest.raises(UserError) as failed:
        _nap(pair.address, tmp_path, pieces)
    assert "nap 0: a bad dream" in str(failed.value)
    assert "nap 1: 1 workers died in it" in str(failed.value)
    assert sorted(sleep_tasks.done_in(tmp_path)) == [2, 3, 4, 5]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, which tests that run in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_stopped_or_without_a_scheduler_the_same_command_goes_on(
    dask: Callable[..., DaskProcesses], rendered: Path, table: Path, here: Path, tmp_path: Path
) -> None:
    processes = dask()
    worker = processes.worker()
    fold = tmp_path / "runs" / "miniature" / "fold-0"

    def run(cluster: str | None) -> None:
        train(["miniature"], rendered, table, runs=tmp_path / "runs", fold="0", set_=SMALL, cluster=cluster)

    def after_an_epoch(act: Callable[[], None]) -> threading.Thread:
        had = _changed(fold / "checkpoint.npz")
        return _meanwhile(
            lambda: until(lambda: _changed(fold / "checkpoint.npz") != had, "an epoch") and act()
        )

    stopping = after_an_epoch(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(processes.address)
    stopping.join()
    until(lambda: not is_locked(fold / ".lock"), "the worker's end of the fold")

    losing = after_an_epoch(lambda: processes.end(processes.scheduler))
    with pytest.raises(UserError, match=r"the scheduler at \S+ is gone; what is finished is kept, and"):
        run(processes.address)
    losing.join()
    until(lambda: worker.poll() is not None, "the worker's end")

    run(None)
    _same_runs(fold, here)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_tls_settings_are_dasks_own(
    dask: Callable[..., DaskProcesses], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=carvana", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    processes = dask("--tls-ca-file", str(certificate), "--tls-cert", str(certificate), "--tls-key", str(key))
    processes.worker("--no-nanny")
    with pytest.raises(UserError, match=r"--cluster tls://.*: no Dask scheduler answers there"):
        _nap(processes.address, tmp_path, [Nap(tmp_path, 0)])
    settings = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    with dask_module.config.set(
        {f"distributed.comm.tls.{name}": str(path) for name, path in settings.items()}
    ):
        assert list(_nap(processes.address, tmp_path, [Nap(tmp_path, 0)])) == [0]


def test_nobody_at_the_address_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_ANSWER_S", 1)
    with pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers there \("):
        _nap("tcp://127.0.0.1:9", tmp_path, [Nap(tmp_path, 0)])
    for wrong in ("local:", "local:0", "local:two", "carrier-pigeon://here"):
        with pytest.raises(UserError, match=f"--cluster {wrong}: "):
            _nap(wrong, tmp_path, [Nap(tmp_path, 0)])
