"""Export of a recipe's first networks to the form of rembg's sessions `u2net_custom` and `dis_custom`.

rembg, https://github.com/danielgatis/rembg, resizes a photo to a square, normalises it, and gives it to the network
in the order batch, channel, row, column. It stretches the resulting map to 0..1 and resizes it to the photo.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carvana.backend import keras
from carvana.data import images
from carvana.errors import UserError
from carvana.inference.ensemble import SequentialEnsemble
from carvana.inference.export import export_record, load_float32, write_onnx
from carvana.models import build
from carvana.recipe import Recipe
from carvana.runs import RunDir

ops = keras.ops


@dataclass(frozen=True)
class RembgSession:
    """A session of rembg, and how it prepares a photo."""

    name: str
    side: int
    """Height and width in pixels."""
    mean: tuple[float, float, float]
    """Mean of each channel, which is subtracted; channels are 0..1."""
    std: tuple[float, float, float]
    """Standard deviation of each channel, by which is divided after that."""


SESSIONS = (
    RembgSession("u2net_custom", 320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    RembgSession("dis_custom", 1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
)


def export_for_rembg(runs: Sequence[RunDir], recipe: Recipe, folder: Path, name: str) -> Iterator[Path]:
    """Write NAME-u2net_custom.onnx and NAME-dis_custom.onnx to a folder, and yield each file.

    Raises:
        UserError: as `build_rembg_model`, or Keras runs on another backend than TensorFlow.
    """
    record = export_record(folder)
    for session, path in zip(SESSIONS, rembg_files(folder, name), strict=True):
        with record.replace(path, recipe.name) as part:
            write_onnx(build_rembg_model(runs, recipe, session), part)
        yield path


def rembg_files(folder: Path, name: str) -> list[Path]:
    """Return the files that `export_for_rembg` writes, one for each of `SESSIONS`."""
    return [folder / f"{name}-{session.name}.onnx" for session in SESSIONS]


def build_rembg_model(runs: Sequence[RunDir], recipe: Recipe, session: RembgSession) -> keras.Model:
    """Merge the first networks of runs into one model that a session of rembg runs. Refinement is not part of it.

    Returns:
        A model that maps normalised photos (n, 3, side, side), float32, to probabilities (n, 1, height, width) of the
        recipe's size, float32, 0..1, averaged over networks and mirror images.

    Raises:
        UserError: the recipe's networks give a map of a part of the photo only (`padding = "valid"`).
    """
    spec = build.size_spec(recipe)
    if spec.margin:
        raise UserError(f'{recipe.name}: networks of padding = "valid" cannot be exported for rembg')
    image = keras.Input((3, session.side, session.side), name="image")
    photos = _ToPhotos(session, spec.input_size(recipe.size))(image)
    networks = [load_float32(run.model, recipe, build.build) for run in runs]
    ensemble = SequentialEnsemble(networks, flip=recipe.tta != "none", per_fold=False, name="members")
    return keras.Model(image, ensemble(photos)["maps"], name=f"{recipe.name}-{session.name}")


class _ToPhotos(keras.layers.Layer):
    """Conversion of normalised photos (n, 3, side, side) to (n, height, width, 3), 0..255, resized as by the project.

    Each axis is resized by a matrix. ONNX's own operator `Resize` has scales in float32, by which 320 pixels become
    575 instead of 576.
    """

    def __init__(self, session: RembgSession, size: tuple[int, int]) -> None:
        super().__init__(name="to_photos", dtype="float32")
        self.session, self.size = session, size

    def call(self, normalised: keras.KerasTensor) -> keras.KerasTensor:
        rows, columns = (_resizing_matrix(self.session.side, side) for side in self.size)
        resized = ops.matmul(ops.matmul(rows, normalised), columns.T)
        channels = [
            resized[:, channel] * std + mean
            for channel, (mean, std) in enumerate(zip(self.session.mean, self.session.std, strict=True))
        ]
        return ops.clip(ops.stack(channels, axis=-1) * 255, 0, 255)


def _resizing_matrix(old: int, new: int) -> np.ndarray:
    """Return the matrix (new, old), float32, by which `images.resize` resizes a column of pixels."""
    return images.resize(np.eye(old, dtype=np.float32), (new, old))
