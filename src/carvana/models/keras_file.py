"""Files of Keras models: weights alone, the same bytes for equal networks, and checksums verified on reading."""

import io
import json
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np

from carvana.backend import keras
from carvana.errors import UserError
from carvana.interrupts import deferred_interrupts

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_SHARED_ID = re.compile(r'("shared_object_id": )(\d+)')


@deferred_interrupts()
def write(model: keras.Model, path: Path, *, half: bool = False) -> None:
    """Write a functional model without its optimizer, loss and metrics to a file `*.keras`.

    Args:
        model: the model.
        path: the file.
        half: store the weights in float16; they get the layers' own type when they are loaded.

    Raises:
        UserError: a weight is too large for float16.
    """
    # Keras saves the optimizer of a compiled model in any case, so a model of the same layers is saved.
    network = keras.Model(model.input, model.output, name=model.name)
    keras.saving.save_model(network, path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents[_CONFIG] = _with_small_ids(contents[_CONFIG].decode()).encode()
    contents[_METADATA] = json.dumps({"keras_version": keras.__version__}).encode()  # without the date
    if half:
        contents[_WEIGHTS] = _in_half_precision(contents[_WEIGHTS], path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)


@deferred_interrupts()
def read(path: Path) -> keras.Model:
    """Read a model for prediction, without running code from the file.

    The file holds arrays, and a description of layers, which are looked up among those of Keras and of this package.
    A layer that contains code (`Lambda`) is refused. A damaged file raises an error of any type.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _in_half_precision(weights: bytes, path: Path) -> bytes:
    """Return an HDF5 file of weights with its float32 arrays in float16."""
    converted = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as source, h5py.File(converted, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                target.create_group(name).attrs.update(item.attrs)
            elif item.dtype == np.float32:
                values = item[()]
                if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                    raise UserError(f"{path}: the weights {name} are too large for float16")
                target[name] = values.astype(np.float16)
            else:
                target[name] = item[()]

        source.visititems(copy)
        target.attrs.update(source.attrs)
    return converted.getvalue()


def _with_small_ids(config: str) -> str:
    """Number the objects that layers share in their order; Keras gives them addresses in memory."""
    numbers: dict[str, int] = {}
    return _SHARED_ID.sub(lambda match: f"{match[1]}{numbers.setdefault(match[2], len(numbers))}", config)
