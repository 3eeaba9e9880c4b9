"""Tasks on real workers: which worker runs them, and what happens when a process is killed."""

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
from conftest import SRC, DaskProcesses, wait_until
from distributed import Client
from sleep_tasks import SleepJob, SleepTask

from carvana import console
from carvana.backend import keras
from carvana.cluster import connection
from carvana.cluster.executor import dask_executor
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
    """A fold table with two folds."""
    path = tmp_path_factory.mktemp("folds") / "two.csv"
    cars = sorted({photo.car for photo in train_samples(rendered)})
    path.write_text("car,fold\n" + "".join(f"{car},{n % 2}\n" for n, car in enumerate(cars)))
    return path


@pytest.fixture(scope="module")
def local_run(rendered: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of fold 0, trained in this process without a cluster."""
    runs = tmp_path_factory.mktemp("local") / "runs"
    train_folds(read_recipe("miniature", SMALL), Split.read(train_samples(rendered), table), [0], runs)
    return runs / "miniature" / "fold-0"


def _weights(folder: Path) -> list[np.ndarray]:
    return keras.saving.load_model(folder / "model.keras", compile=False).get_weights()


def _assert_same_runs(run: Path, other: Path) -> None:
    assert (run / "scores.csv").read_bytes() == (other / "scores.csv").read_bytes()
    for weight, other_weight in zip(_weights(run), _weights(other), strict=True):
        np.testing.assert_array_equal(weight, other_weight)


def _kill_owner(lock: Path) -> None:
    """Kill the process that has a lock."""
    owner = re.match(r"process (\d+) ", lock.read_text())
    os.kill(int(owner[1]), signal.SIGKILL)


def _in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def _run(address: str, folder: Path, tasks: Sequence[SleepTask]) -> dict[int, dict]:
    dask_executor(address)(SleepJob(folder), tasks)
    return sleep_tasks.read_results(folder)


@pytest.mark.slow
def test_a_fold_of_a_killed_worker_continues_on_another(
    pair: DaskProcesses,
    rendered: Path,
    table: Path,
    local_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Train two recipes that differ in their name only, and kill the worker of one."""
    shutil.copy(RECIPES / "miniature.toml", tmp_path / "twin.toml")
    runs, recipes = tmp_path / "runs", ["miniature", str(tmp_path / "twin.toml")]

    def kill() -> None:
        fold = runs / "miniature" / "fold-0"
        wait_until((fold / "checkpoint.npz").exists, "the first epoch")
        time.sleep(0.2)
        _kill_owner(fold / ".lock")

    killing = _in_thread(kill)
    train(recipes, rendered, table, fold="0", runs=runs, set_=SMALL, cluster=pair.address)
    killing.join()
    output = capsys.readouterr().out
    assert re.search(r"worker \S+ was lost; miniature fold 0 goes to another worker", output)
    assert re.search(r"miniature fold 0, \S+: fold 0: resumes after epoch \d+", output)
    assert re.search(r"twin fold 0, \S+: fold 0, 48x32 epoch 12/12: loss ", output)
    assert re.search(r"dashboard: http://127.0.0.1:\d+/status", output)
    for name in ("miniature", "twin"):
        _assert_same_runs(runs / name / "fold-0", local_run)
    assert list(runs.glob("**/.part-*")) == list(runs.glob(".cluster-*")) == []

    train(recipes, rendered, table, fold="0", runs=runs, set_=SMALL, cluster="tcp://127.0.0.1:9")
    assert capsys.readouterr().out.count("trained already") == 2


def test_a_shard_of_a_killed_worker_is_predicted_on_another_with_the_same_bytes(
    pair: DaskProcesses, rendered: Path, local_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _compare_with_a_kill(pair.address, rendered, local_run, tmp_path, monkeypatch)


@pytest.mark.slow
def test_workers_in_network_namespaces_predict_the_same_bytes(
    namespaces: tuple[str, list],
    dask: Callable[..., DaskProcesses],
    rendered: Path,
    local_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, prefixes = namespaces
    processes = dask(host=host)
    for prefix in prefixes:
        processes.worker("--no-nanny", prefix=prefix)
    _compare_with_a_kill(processes.address, rendered, local_run, tmp_path, monkeypatch)


def _compare_with_a_kill(
    address: str, data: Path, run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(shards, "SHARD_SIZE", 10)

    def submit(out: str, cluster: str | None) -> bytes:
        options = {"fold": "0", "tta": Tta.scales, "set_": SMALL, "keep_maps": True}
        predict("miniature", data=data, runs=run.parents[1], out=Path(out), cluster=cluster, **options)
        return Path(out).read_bytes()

    plain = submit("local.csv.gz", None)
    killing = _in_thread(lambda: _kill_in_a_shard(folder / ".cluster.shards"))
    assert submit("cluster.csv.gz", address) == plain
    killing.join()
    for path in Path("local-maps").iterdir():
        assert (Path("cluster-maps") / path.name).read_bytes() == path.read_bytes()
    assert not list(folder.glob(".*.shards"))


def _kill_in_a_shard(folder: Path) -> None:
    """Kill the worker that writes the second shard."""
    (lock,) = wait_until(lambda: list(folder.glob(".00001-*.lock")), "the second shard")
    wait_until(lambda: list(folder.glob(".part-00001-*")), "the start of the second shard's file")
    _kill_owner(lock)


def test_a_worker_runs_one_task_at_a_time_and_reserves_its_gpu(pair: DaskProcesses, tmp_path: Path) -> None:
    results = _run(pair.address, tmp_path, [SleepTask(tmp_path, number) for number in range(12)])
    assert sorted(results) == list(range(12))
    for worker in {result["worker"] for result in results.values()}:
        own = [result for result in results.values() if result["worker"] == worker]
        own.sort(key=lambda result: result["started"])
        for earlier, later in itertools.pairwise(own):
            assert earlier["ended"] <= later["started"]
    free = [result["resources"] for result in results.values()]
    assert {"GPU": 0, "carvana": 0} in free and {"carvana": 0} in free


def test_workers_that_join_late_get_tasks_if_their_environment_is_the_same(
    pair: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr(console, "message", messages.append)
    source = shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "train.py").write_text("# another version\n" + (source / "train.py").read_text())
    late: list[subprocess.Popen] = []
    release_file = tmp_path / "release"

    def join() -> None:
        try:
            wait_until((tmp_path / "1.started").exists, "the tasks of both workers")
            late.extend([pair.worker(), pair.worker(source=source), pair.worker(source=None)])
            wait_until(
                lambda: sum("it gets no task" in one for one in messages) == 2, "two differing workers"
            )
            wait_until((tmp_path / "2.started").exists, "the task of the late worker")
        finally:
            release_file.touch()

    joining = _in_thread(join)
    try:
        results = _run(
            pair.address, tmp_path, [SleepTask(tmp_path, n, release_file=release_file) for n in range(4)]
        )
        joining.join()
        same, differing, bare = (pair.address_of(worker).removeprefix("tcp://") for worker in late)
        assert results[2]["worker"].endswith(same)
        assert len({results[n]["worker"] for n in range(3)}) == 3

        with pytest.raises(UserError) as refused:
            _run(pair.address, tmp_path, [SleepTask(tmp_path, 9)])
        line = str(refused.value)
        assert re.search(rf"worker {differing} differs in the code \(\w+, here \w+\);", line)
        assert f"worker {bare} lacks a module (" in line and "'carvana'" in line
        assert line.endswith("no task was started") and same not in line
        assert not (tmp_path / "9.started").exists()
    finally:
        for worker in late:
            pair.end(worker)


@pytest.fixture
def no_allowed_failures(pair: DaskProcesses) -> Iterator[None]:
    """Let the scheduler report a task as failed after the first lost worker; it was started with another value."""
    with Client(pair.address, set_as_default=False) as client:
        before = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures)
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
        yield
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", before))


@pytest.mark.usefixtures("no_allowed_failures")
def test_tasks_that_fail_or_kill_their_worker_are_listed_and_the_others_finish(
    pair: DaskProcesses, tmp_path: Path
) -> None:
    tasks = [SleepTask(tmp_path, 0, "fail"), SleepTask(tmp_path, 1, "kill")]
    with pytest.raises(UserError) as failed:
        _run(pair.address, tmp_path, [*tasks, *(SleepTask(tmp_path, n) for n in range(2, 6))])
    assert "sleep 0: a bad dream" in str(failed.value)
    assert "sleep 1: number of workers lost while they ran it: 1" in str(failed.value)
    assert sorted(sleep_tasks.read_results(tmp_path)) == [2, 3, 4, 5]


@pytest.mark.slow
def test_a_task_of_a_lost_worker_does_not_wait_for_a_busy_worker(
    dask: Callable[..., DaskProcesses], tmp_path: Path
) -> None:
    """The workers have a thread to spare, so that Dask's work stealing does not count the busy one as busy."""
    processes = dask()
    workers = [processes.worker("--nthreads", "2") for _ in range(2)]
    for worker in workers:
        processes.address_of(worker)
    release_file = tmp_path / "release"

    def release() -> None:
        try:
            wait_until((tmp_path / "1.json").exists, "the second attempt on the restarted worker")
        finally:
            release_file.touch()

    releasing = _in_thread(release)
    tasks = [SleepTask(tmp_path, 0, release_file=release_file), SleepTask(tmp_path, 1, "kill once")]
    results = _run(processes.address, tmp_path, tasks)
    releasing.join()
    assert results[1]["ended"] < results[0]["ended"]


@pytest.mark.slow
def test_a_task_is_reported_as_failed_after_three_tolerated_losses_of_the_only_worker(
    dask: Callable[..., DaskProcesses], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    processes = dask()
    processes.worker()
    tasks = [SleepTask(tmp_path, 0, "kill"), *(SleepTask(tmp_path, n) for n in range(1, 4))]
    with pytest.raises(UserError, match="sleep 0: number of workers lost while they ran it: 4; check"):
        _run(processes.address, tmp_path, tasks)
    assert (
        len(re.findall(r"worker \S+ was lost; sleep 0 goes to another worker", capsys.readouterr().out)) == 3
    )
    assert sorted(sleep_tasks.read_results(tmp_path)) == [1, 2, 3]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt the test, also where tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_the_same_command_continues_after_an_interrupt_and_after_a_lost_scheduler(
    dask: Callable[..., DaskProcesses], rendered: Path, table: Path, local_run: Path, tmp_path: Path
) -> None:
    processes = dask()
    worker = processes.worker()
    fold = tmp_path / "runs" / "miniature" / "fold-0"

    def run(cluster: str | None) -> None:
        train(["miniature"], rendered, table, runs=tmp_path / "runs", fold="0", set_=SMALL, cluster=cluster)

    def after_an_epoch(act: Callable[[], None]) -> threading.Thread:
        before = _modified_at(fold / "checkpoint.npz")
        return _in_thread(
            lambda: wait_until(lambda: _modified_at(fold / "checkpoint.npz") != before, "an epoch") and act()
        )

    stopping = after_an_epoch(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(processes.address)
    stopping.join()
    wait_until(lambda: not is_locked(fold / ".lock"), "the end of the task on the worker")

    losing = after_an_epoch(lambda: processes.end(processes.scheduler))
    with pytest.raises(UserError, match=r"the scheduler at \S+ was lost; what is finished is kept, and"):
        run(processes.address)
    losing.join()
    wait_until(lambda: worker.poll() is not None, "the worker's end")

    run(None)
    _assert_same_runs(fold, local_run)


def _modified_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_tls_is_configured_by_dasks_settings(
    dask: Callable[..., DaskProcesses], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=carvana", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    processes = dask("--tls-ca-file", str(certificate), "--tls-cert", str(certificate), "--tls-key", str(key))
    processes.worker("--no-nanny")
    with pytest.raises(UserError, match=r"--cluster tls://.*: no Dask scheduler answers there"):
        _run(processes.address, tmp_path, [SleepTask(tmp_path, 0)])
    settings = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    with dask_module.config.set(
        {f"distributed.comm.tls.{name}": str(path) for name, path in settings.items()}
    ):
        assert list(_run(processes.address, tmp_path, [SleepTask(tmp_path, 0)])) == [0]


def test_a_wrong_address_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 1)
    with pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers there \("):
        _run("tcp://127.0.0.1:9", tmp_path, [SleepTask(tmp_path, 0)])
    for wrong in ("local:", "local:0", "local:two", "carrier-pigeon://here"):
        with pytest.raises(UserError, match=f"--cluster {wrong}: "):
            _run(wrong, tmp_path, [SleepTask(tmp_path, 0)])
