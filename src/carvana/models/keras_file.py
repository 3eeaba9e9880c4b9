"""Files of Keras models: weights alone, the same bytes for equal networks, and checksums verified on reading."""

import json
import re
import zipfile
from pathlib import Path

from carvana.backend import keras

_CONFIG, _METADATA = "config.json", "metadata.json"
_SHARED_ID = re.compile(r'("shared_object_id": )(\d+)')


def write(model: keras.Model, path: Path) -> None:
    """Write a functional model without its optimizer, loss and metrics to a file `*.keras`."""
    # Keras saves the optimizer of a compiled model in any case, so a model of the same layers is saved.
    network = keras.Model(model.input, model.output, name=model.name)
    keras.saving.save_model(network, path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents[_CONFIG] = _with_small_ids(contents[_CONFIG].decode()).encode()
    contents[_METADATA] = json.dumps({"keras_version": keras.__version__}).encode()  # without the date
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def read(path: Path) -> keras.Model:
    """Read a model for prediction. A damaged file raises an error of any type."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
    return keras.saving.load_model(path, compile=False)


def _with_small_ids(config: str) -> str:
    """Number the objects that layers share in their order; Keras gives them addresses in memory."""
    numbers: dict[str, int] = {}
    return _SHARED_ID.sub(lambda match: f"{match[1]}{numbers.setdefault(match[2], len(numbers))}", config)
