"""Export of a whole ensemble in one file that needs no code of this project: ONNX, or TensorFlow's SavedModel."""

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.files import atomic_path
from carvana.inference.ensemble import merge_models
from carvana.models import build
from carvana.recipe import Recipe
from carvana.runs import RunDir

ops = keras.ops


def build_export_model(runs: Sequence[RunDir], recipe: Recipe) -> keras.Model:
    """Merge the networks of runs into one model that pads photos and crops maps itself.

    Networks in bfloat16 are converted to float32, which every runtime supports; their weights are float32 anyway.

    Returns:
        A model that maps photos (n, height, width, 3), uint8, RGB, of the recipe's size, to probabilities
        (n, height, width), float32, 0..1, averaged over networks and test-time augmentations.

    Raises:
        UserError: the recipe's test-time augmentation needs several sizes.
    """
    if recipe.tta == "scales":
        raise UserError(
            f"{recipe.name}: an exported network takes photos of one size; give --tta flip or --tta none"
        )
    size_spec = build.size_spec(recipe)
    photo = keras.Input((*recipe.size, 3), name="photo", dtype="uint8")
    padded = _Pad(recipe.size, size_spec, name="pad")(photo)
    ensemble = merge_models([_in_float32(run, recipe) for run in runs], flip=recipe.tta == "flip")
    probability = _Crop(recipe.size, name="probability")(ensemble(padded)["maps"])
    return keras.Model(photo, probability, name=recipe.name)


def write_onnx(model: keras.Model, path: Path) -> None:
    """Write a model as an ONNX file. Needs the TensorFlow backend.

    Raises:
        UserError: Keras runs on another backend.
    """
    _check_backend()
    with atomic_path(path) as part, _quiet():
        model.export(part, format="onnx", verbose=False, input_signature=_signature(model))
        _name_output(part)


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """Write a model as a TensorFlow SavedModel, a folder; an existing one is replaced.

    Raises:
        UserError: Keras runs on another backend.
    """
    _check_backend()
    part = folder.with_name(f".part-{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet():
            model.export(part, format="tf_saved_model", verbose=False, input_signature=_signature(model))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


class _Pad(keras.layers.Layer):
    """Reflection padding to the networks' input size, equal to `padding.pad`."""

    def __init__(self, size: tuple[int, int], size_spec: SizeSpec, name: str) -> None:
        super().__init__(name=name, dtype="uint8")
        self.borders = [
            ((whole - side) // 2, whole - side - (whole - side) // 2)
            for side, whole in zip(size, size_spec.input_size(size), strict=True)
        ]

    def call(self, photos: keras.KerasTensor) -> keras.KerasTensor:
        if not any(map(any, self.borders)):
            return photos
        return ops.pad(photos, [(0, 0), *self.borders, (0, 0)], mode="reflect")


class _Crop(keras.layers.Layer):
    """Crop of the middle of the first map, equal to `padding.crop`."""

    def __init__(self, size: tuple[int, int], name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.size = size

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        height, width = self.size
        top, left = (maps.shape[2] - height) // 2, (maps.shape[3] - width) // 2
        return maps[:, 0, top : top + height, left : left + width]


def _signature(model: keras.Model) -> list[keras.InputSpec]:
    """Return a signature for any number of photos; by default Keras exports only the shapes called before."""
    return [keras.InputSpec(shape=model.input_shape, dtype="uint8", name="photo")]


def _name_output(path: Path) -> None:
    """Rename the ONNX file's output to `probability`; the converter names it `Identity:0`."""
    exported = onnx.load(path)
    (output,) = exported.graph.output
    for node in exported.graph.node:
        node.output[:] = ["probability" if name == output.name else name for name in node.output]
        node.input[:] = ["probability" if name == output.name else name for name in node.input]
    output.name = "probability"
    onnx.save(exported, path)


def _in_float32(run: RunDir, recipe: Recipe) -> keras.Model:
    trained = build.load(run.model)
    if recipe.precision == "float32":
        return trained
    model = build.build(recipe.model_copy(update={"precision": "float32"}))
    model.set_weights(trained.get_weights())
    return model


def _check_backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"export: needs KERAS_BACKEND=tensorflow, not {keras.backend.backend()}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log messages of TensorFlow's and tf2onnx's writers."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
