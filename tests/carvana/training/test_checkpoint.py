"""Checkpoints: read back as written, and damaged ones refused in one line."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tests.damage import flip_bit

from carvana.errors import UserError
from carvana.training import checkpoint
from carvana.training.checkpoint import Checkpoint, Progress

SAVED = Checkpoint(
    [np.array(7), np.arange(12, dtype=np.float32).reshape(3, 4), np.asfortranarray(np.eye(3)[:2])],
    [np.ones(5, np.float32)],
    Progress(epoch=2, best_dice=0.9, frozen=True, oom_halvings=1, history=[{"epoch": 1, "loss": 0.5}]),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved checkpoint."""
    checkpoint.save(tmp_path / "checkpoint.npz", SAVED)
    return tmp_path / "checkpoint.npz"


def _assert_equal(first: Checkpoint, second: Checkpoint) -> None:
    assert first.progress == second.progress
    for arrays, others in ((first.state, second.state), (first.kept, second.kept)):
        assert [array.dtype for array in arrays] == [array.dtype for array in others]
        for array, other in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(array, other, strict=True)


def test_a_checkpoint_is_read_back(path: Path) -> None:
    read = checkpoint.read(path)
    _assert_equal(read, SAVED)
    assert all(array.flags.writeable for array in (*read.state, *read.kept))
    assert isinstance(read.progress.history[0]["epoch"], int)
    assert checkpoint.finished_epochs(path) == 2


def test_a_damaged_checkpoint_is_refused(path: Path) -> None:
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(len(content), size=200):
        path.write_bytes(flip_bit(content, place, rng.integers(8)))
        try:
            _assert_equal(checkpoint.read(path), SAVED)  # some bits mean nothing
        except UserError as error:
            _assert_one_line(error, path)
    for size in range(0, len(content), 50):
        path.write_bytes(content[:size])
        with pytest.raises(UserError) as caught:
            checkpoint.read(path)
        _assert_one_line(caught.value, path)
        assert checkpoint.finished_epochs(path) == 0


def _assert_one_line(error: UserError, path: Path) -> None:
    assert str(error).startswith(f"{path}: cannot be resumed from (")
    assert str(error).endswith("); train again with --fresh")
    assert "\n" not in str(error)


def _npy(values: object) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.array(values))
    return content.getvalue()


def _npy_of_shape(shape: tuple[int, ...], data: bytes, dtype: str = "<f4") -> bytes:
    content = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + data


PROGRESS = _npy(json.dumps(asdict(Progress())))
ONE = _npy([1, 0])  # array of the state


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"progress": PROGRESS},
        {"progress": PROGRESS, "counts": _npy([0])},
        {"progress": PROGRESS, "counts": _npy([0.5, 0])},
        {"progress": PROGRESS, "counts": _npy(["", ""])},
        {"counts": ONE, "state0": _npy([1.0])},
        {"progress": PROGRESS, "counts": ONE, "state1": _npy([1.0])},
        {"counts": ONE, "state0": _npy([1.0]), "progress": _npy("")},
        {"counts": ONE, "state0": _npy([1.0]), "progress": _npy("[]")},
        {"counts": ONE, "state0": _npy([1.0]), "progress": _npy(json.dumps({"epoch": -1}))},
        {"counts": ONE, "state0": _npy([1.0]), "progress": _npy(json.dumps({"epoch": "many"}))},
        {"counts": ONE, "state0": _npy([1.0]), "progress": _npy(json.dumps({"history": [{"loss": "low"}]}))},
        {"counts": ONE, "state0": _npy([1.0]), "progress": _npy("[" * 100_000)},
        {"progress": PROGRESS, "counts": ONE, "state0": _npy_of_shape((2 * 10**12,), b"1234")},
        {"progress": PROGRESS, "counts": ONE, "state0": _npy_of_shape((2**40, 2**40), b"1234")},
        {"progress": PROGRESS, "counts": ONE, "state0": _npy_of_shape((10**30,), b"1234")},
        {"progress": PROGRESS, "counts": ONE, "state0": _npy_of_shape((2,), b"1234")},
        {"progress": PROGRESS, "counts": ONE, "state0": _npy_of_shape((1,), b"12345")},
        {"progress": PROGRESS, "counts": ONE, "state0": _npy_of_shape((1,), b"12345678", "|O")},
        {"progress": PROGRESS, "counts": ONE, "state0": b""},
    ],
)
def test_an_invalid_checkpoint_is_refused(tmp_path: Path, members: Mapping[str, bytes]) -> None:
    """Also one whose header claims 8 TB, for which no memory is reserved."""
    path = tmp_path / "checkpoint.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    with pytest.raises(UserError) as caught:
        checkpoint.read(path)
    _assert_one_line(caught.value, path)


def test_a_compressed_checkpoint_is_refused(tmp_path: Path) -> None:
    """It may be thousands of times as large as its file."""
    np.savez_compressed(tmp_path / "checkpoint.npz", state0=np.zeros(10**6), progress="{}")
    with pytest.raises(UserError, match="it is compressed"):
        checkpoint.read(tmp_path / "checkpoint.npz")
