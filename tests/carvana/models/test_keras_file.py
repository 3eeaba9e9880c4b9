"""Saved networks: weights alone, equal bytes for equal networks, and damaged files refused in one line."""

import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.damage import flip_bit

from carvana.backend import keras
from carvana.errors import UserError
from carvana.models import keras_file
from carvana.models.build import build, load, save
from carvana.models.refiner import build_refiner, refiner_recipe
from carvana.recipe import read_recipe
from carvana.training.train_step import TrainStep

SMALL = [
    "base_filters=2",
    "depth=1",
    "precision=mixed_bfloat16",
    "ema_decay=0.5",
    "stages=[{size=[32, 48], epochs=1, batch_size=2, learning_rate=1e-3}]",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved network. Tests only read it."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    save(build(read_recipe("fast", SMALL)), path)
    return path


def test_a_network_is_saved_without_its_optimizer(saved: Path, tmp_path: Path) -> None:
    """A trained network, set back to the weights with which it was built, gives the same bytes."""
    recipe = read_recipe("fast", SMALL)
    train_step = TrainStep(recipe)
    weights = train_step.model.get_weights()
    train_step.start_stage(recipe.stages[0])
    train_step.model.run_eagerly = True
    train_step.step(np.zeros((2, 32, 48, 3), np.uint8), np.ones((2, 32, 48, 1), np.float32), 0.1)
    save(train_step.model, tmp_path / "model.keras")
    changed = load(tmp_path / "model.keras").get_weights()
    assert not all(np.array_equal(one, other) for one, other in zip(weights, changed, strict=True))
    train_step.model.set_weights(weights)
    save(train_step.model, tmp_path / "model.keras")
    assert (tmp_path / "model.keras").read_bytes() == saved.read_bytes()


def test_ctrl_c_while_a_network_is_saved_is_raised_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised within h5py, it would be lost."""
    save_model, path = keras.saving.save_model, tmp_path / "model.keras"

    def interrupt_and_save(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)
        save_model(*arguments)

    monkeypatch.setattr(keras.saving, "save_model", interrupt_and_save)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            keras_file.write(build(read_recipe("fast", SMALL)), path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert load(path)


def test_weights_in_half_precision_are_loaded_as_float32(saved: Path, tmp_path: Path) -> None:
    model, path = build(read_recipe("fast", [*SMALL, "precision=float32"])), tmp_path / "model.keras"
    save(model, path, half=True)
    loaded = load(path)
    assert {variable.dtype for variable in loaded.variables} == {"float32"}
    for weights, original in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(weights, original.astype(np.float16))


def test_weights_in_half_precision_take_half_the_bytes(tmp_path: Path) -> None:
    model = _dense(64, 4096)
    for half in (False, True):
        save(model, tmp_path / f"{half}.keras", half=half)
    sizes = [(tmp_path / f"{half}.keras").stat().st_size for half in (False, True)]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)


def test_a_weight_that_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    model = _dense(1, 1)
    model.set_weights([np.full((1, 1), 1e5), np.zeros(1)])
    with pytest.raises(UserError, match=r"model\.keras: the weights .*dense.* are too large for float16"):
        save(model, tmp_path / "model.keras", half=True)
    assert list(tmp_path.iterdir()) == []


def _dense(inputs: int, outputs: int) -> keras.Model:
    values = keras.Input((inputs,))
    return keras.Model(values, keras.layers.Dense(outputs)(values))


def test_a_layer_with_code_is_not_loaded(tmp_path: Path) -> None:
    """A `Lambda` layer's function is stored as bytecode, which would write a file."""
    ran = str(tmp_path / "ran")
    code = keras.layers.Lambda(lambda values: [values, open(ran, "w").close()][0], output_shape=(1,))
    photo = keras.Input((1,))
    model = keras.Model(photo, code(photo))
    Path(ran).unlink(missing_ok=True)  # building the model has called the function
    save(model, tmp_path / "model.keras")
    with pytest.raises(UserError, match="not a whole Keras model"):
        load(tmp_path / "model.keras")
    assert not Path(ran).exists()
    keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)(np.zeros((1, 1)))
    assert Path(ran).exists()


@pytest.mark.parametrize("model", ["unet", "{encoder='seresnet18', weights='none'}"])
def test_equal_networks_give_equal_bytes(model: str, tmp_path: Path) -> None:
    """Whatever was built before: layers without a name of their own are numbered anew."""
    recipe = read_recipe(
        "miniature" if model == "unet" else "resnet34", [*SMALL[2:3], SMALL[4], f"model={model}"]
    )
    for name in ("first.keras", "second.keras"):
        save(build(recipe), tmp_path / name)
        keras.layers.Conv2D(1, 1)
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()


def test_a_refinement_network_is_read_back(tmp_path: Path) -> None:
    recipe = refiner_recipe(read_recipe("fast", ["refine.base_filters=2", "precision=float32"]))
    model = build_refiner(recipe)
    save(model, tmp_path / "refiner.keras")
    for weights, others in zip(
        model.get_weights(), load(tmp_path / "refiner.keras").get_weights(), strict=True
    ):
        assert np.array_equal(weights, others)


def test_a_flipped_bit_is_found_or_harmless(saved: Path, tmp_path: Path) -> None:
    content, expected, rng = saved.read_bytes(), load(saved).get_weights(), np.random.default_rng(0)
    damaged_path = tmp_path / "model.keras"
    ends = [*range(40), *range(len(content) - 40, len(content))]  # the headers of the zip
    for place in [*rng.choice(ends, 30), *rng.integers(len(content), size=60)]:
        damaged_path.write_bytes(flip_bit(content, place, rng.integers(8)))
        try:
            weights = load(damaged_path).get_weights()
        except UserError as error:
            _assert_one_line(error, damaged_path)
        else:  # e.g. a bit of a time
            assert all(np.array_equal(one, other) for one, other in zip(weights, expected, strict=True))


def test_a_truncated_file_is_refused(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    for size in (0, 1, 3, 4, 21, 22, 30, 100, *range(1000, len(content), 9973), len(content) - 1):
        (tmp_path / "model.keras").write_bytes(content[:size])
        with pytest.raises(UserError) as caught:
            load(tmp_path / "model.keras")
        _assert_one_line(caught.value, tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("config.json", b""),
        ("config.json", b"[]"),
        ("config.json", b"{}"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"module": "os", "class_name": "system", "config": {}, "registered_name": null}'),
        ("model.weights.h5", b""),
        ("model.weights.h5", b"\x89HDF\r\n\x1a\n"),
        ("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(1000)),
    ],
)
def test_a_file_of_other_content_is_refused(saved: Path, tmp_path: Path, member: str, content: bytes) -> None:
    """One whose checksums are right."""
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name, original in members.items():
            archive.writestr(name, content if name == member else original)
    with pytest.raises(UserError) as caught:
        load(tmp_path / "model.keras")
    _assert_one_line(caught.value, tmp_path / "model.keras")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(tmp_path / "model.keras")
    _assert_one_line(caught.value, tmp_path / "model.keras")


def _assert_one_line(error: UserError, path: Path) -> None:
    assert str(error).startswith(f"{path}: not a whole Keras model (")
    assert str(error).endswith("); copy it again, or train again with --fresh")
    assert "\n" not in str(error)
