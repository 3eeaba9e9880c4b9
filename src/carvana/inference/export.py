"""Export of a recipe's ensembles to files that need no code of this project: ONNX, or TensorFlow's SavedModel.

The first networks are one model, and the refinement networks another. `standalone.py`, copied beside the ONNX files,
makes masks with them.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from carvana.backend import keras
from carvana.data.padding import SizeSpec
from carvana.errors import UserError
from carvana.inference import standalone
from carvana.inference.ensemble import merge_models
from carvana.inference.output_record import OutputRecord
from carvana.models import build
from carvana.models.refiner import CHANNELS, build_refiner, refiner_recipe
from carvana.recipe import Recipe
from carvana.runs import RunDir

ops = keras.ops


def export_ensemble(
    runs: Sequence[RunDir], recipe: Recipe, folder: Path, name: str, formats: Collection[str]
) -> Iterator[tuple[Path, str]]:
    """Export the networks of a recipe's runs, and yield each file or folder that was written with a description.

    Existing ones are replaced; `check_replaceable` finds those of others.

    Args:
        runs: the trained runs, one per fold.
        recipe: their recipe.
        folder: where the files are written: NAME.onnx and NAME.py, and the folder NAME; if the recipe refines also
            NAME-refiner.onnx and the folder NAME-refiner.
        name: NAME.
        formats: `onnx`, `saved_model` or both.

    Raises:
        UserError: the recipe's test-time augmentation needs several sizes, or Keras runs on another backend than
            TensorFlow.
    """
    record = export_record(folder)
    models = {name: build_export_model(runs, recipe)}
    if recipe.refine:
        models[f"{name}-refiner"] = build_export_refiner(runs, recipe)
    networks = f"{len(runs)} network{'s' * (len(runs) > 1)}, tta {recipe.tta}"
    for model_name, model in models.items():
        description = f"{networks}, {_describe_input(model)}"
        if "onnx" in formats:
            path = folder / f"{model_name}.onnx"
            with record.replace(path, recipe.name) as part:
                write_onnx(model, part, pipeline_metadata(recipe))
            yield path, f"{description}, {_megabytes(path)}"
        if "saved_model" in formats:
            path = folder / model_name
            with record.replace_folder(path, recipe.name) as part:
                write_saved_model(model, part)
            yield path, f"{description}, {_megabytes(path)}"
    if "onnx" in formats:
        path = folder / f"{name}.py"
        with record.replace(path, recipe.name) as part:
            shutil.copyfile(standalone.__file__, part)
        yield path, "makes masks of photos with the ONNX files; --help describes it"


def ensemble_files(recipe: Recipe, folder: Path, name: str, formats: Collection[str]) -> list[Path]:
    """Return the files and folders that `export_ensemble` writes, for the same arguments."""
    models = [name, f"{name}-refiner"] if recipe.refine else [name]
    endings = [ending for ending, format_ in ((".onnx", "onnx"), ("", "saved_model")) if format_ in formats]
    files = [folder / f"{model}{ending}" for model in models for ending in endings]
    return [*files, folder / f"{name}.py"] if "onnx" in formats else files


def export_record(folder: Path) -> OutputRecord:
    """Return the record of what was exported to a folder."""
    return OutputRecord(folder / ".exports.jsonl")


def check_replaceable(folder: Path, files: Iterable[Path]) -> None:
    """Raise UserError if a file or folder exists in an export's folder, and was not exported to it."""
    record = export_record(folder)
    for path in files:
        if not record.may_replace(path):
            raise UserError(
                f"{path}: exists, and was not written by `export` or was changed since; move it, or choose another"
                " folder with --out"
            )


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
    networks = [load_float32(run.model, recipe, build.build) for run in runs]
    ensemble = merge_models(networks, flip=recipe.tta == "flip")
    probability = _Crop(recipe.size, name="probability")(ensemble(padded)["maps"])
    return keras.Model(photo, probability, name=recipe.name)


def build_export_refiner(runs: Sequence[RunDir], recipe: Recipe) -> keras.Model:
    """Merge the refinement networks of runs into one model, in float32 as `build_export_model` does.

    Returns:
        A model that maps patches (n, patch, patch, 4), uint8, as `standalone.cut_patches` returns them, to
        probabilities (n, patch, patch), float32, 0..1, averaged over networks and mirror images.
    """
    refiner = refiner_recipe(recipe)
    patches = keras.Input((*refiner.size, CHANNELS), name="patches", dtype="uint8")
    networks = [load_float32(run.refiner, refiner, build_refiner) for run in runs]
    ensemble = merge_models(networks, flip=recipe.tta != "none")
    probability = _Crop(refiner.size, name="probability")(ensemble(patches)["maps"])
    return keras.Model(patches, probability, name=f"{recipe.name}-refiner")


def pipeline_metadata(recipe: Recipe) -> dict[str, str]:
    """Return the numbers that `standalone.Pipeline` needs, as metadata properties of ONNX files.

    Returns:
        `threshold`, and `refine`: a JSON object of size, patch and spacing in pixels, or null without refinement.
    """
    refine = recipe.refine and recipe.refine.model_dump(include={"size", "patch", "spacing"})
    return {"threshold": str(recipe.threshold), "refine": json.dumps(refine)}


def write_onnx(model: keras.Model, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model as an ONNX file. Needs the TensorFlow backend.

    Args:
        model: as `build_export_model` or `build_export_refiner` returns it.
        path: the file; it is incomplete if the process is killed.
        metadata: metadata properties of the file.

    Raises:
        UserError: Keras runs on another backend.
    """
    _check_backend()
    with _quiet():
        model.export(path, format="onnx", verbose=False, input_signature=_signature(model))
        _complete(path, metadata or {})


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """Write a model as a TensorFlow SavedModel, a folder, which is incomplete if the process is killed.

    Raises:
        UserError: Keras runs on another backend.
        OSError: the folder cannot be written.
    """
    _check_backend()
    import tensorflow as tf  # another backend may be the only one that is installed

    try:
        with _quiet():
            model.export(folder, format="tf_saved_model", verbose=False, input_signature=_signature(model))
    except tf.errors.OpError as error:  # TensorFlow's own writer does not raise OSError
        raise OSError(error.message) from None


def load_float32(path: Path, recipe: Recipe, build_model: Callable[[Recipe], keras.Model]) -> keras.Model:
    """Load a network, and convert it to float32 by `build_model` if the recipe has another precision.

    Raises:
        UserError: the file is missing or is not a complete Keras model.
    """
    trained = build.load(path)
    if recipe.precision == "float32":
        return trained
    model = build_model(recipe.model_copy(update={"precision": "float32"}))
    model.set_weights(trained.get_weights())
    return model


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


def _describe_input(model: keras.Model) -> str:
    """Return what a model takes, e.g. `photos of 432x288`."""
    _, height, width, _ = model.input_shape
    return f"{'photos' if model.inputs[0].name == 'photo' else 'patches'} of {width}x{height}"


def _megabytes(path: Path) -> str:
    """Return the size of a file, or of all files in a folder."""
    size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
    return f"{size / 1e6:.1f} MB"


def _signature(model: keras.Model) -> list[keras.InputSpec]:
    """Return a signature for any batch size; by default Keras exports only the shapes called before."""
    (photo,) = model.inputs
    return [keras.InputSpec(shape=model.input_shape, dtype=photo.dtype, name=photo.name)]


def _complete(path: Path, metadata: Mapping[str, str]) -> None:
    """Rename the ONNX file's output to `probability`, which the converter names `Identity:0`, and add metadata."""
    exported = onnx.load(path)
    (output,) = exported.graph.output
    for node in exported.graph.node:
        node.output[:] = ["probability" if name == output.name else name for name in node.output]
        node.input[:] = ["probability" if name == output.name else name for name in node.input]
    output.name = "probability"
    onnx.helper.set_model_props(exported, dict(metadata))
    onnx.save(exported, path)


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
