"""Folders that hold a network in OpenVINO's own format, with checksums."""

from functools import cache
from pathlib import Path

from openvino import Core, Model, save_model

from carvana.errors import UserError
from carvana.files import atomic_folder, read_json, sha256_of_file, write_json

NETWORK = "network.xml"
"""Layers of the network; its weights are in a second file of the same name that ends in `.bin`."""

_CHECKSUMS = "sha256.json"


@cache
def core() -> Core:
    """Return OpenVINO's runtime, which stays until the process ends.

    OpenVINO gives the thread that starts it a stack for signal handlers, and frees that stack when the last network
    is released (https://github.com/openvinotoolkit/openvino/pull/11894). If another thread releases it, Ctrl-C would
    then end in a segmentation fault.
    """
    return Core()


def write_network(network: Model, folder: Path) -> None:
    """Write a network, with its weights as they are, to a folder that does not exist yet.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    with atomic_folder(folder) as part:
        save_model(network, part / NETWORK, compress_to_fp16=False)
        write_json({path.name: sha256_of_file(path) for path in _network_files(part)}, part / _CHECKSUMS)


def read_network(folder: Path) -> Model | None:
    """Read a network that `write_network` wrote; None if there is none, or a file of it was changed."""
    try:
        expected = read_json(folder / _CHECKSUMS, {path.name: str for path in _network_files(folder)})
        found = {path.name: sha256_of_file(path) for path in _network_files(folder)}
    except (UserError, OSError):
        return None
    return core().read_model(folder / NETWORK) if found == expected else None


def _network_files(folder: Path) -> list[Path]:
    return [folder / NETWORK, (folder / NETWORK).with_suffix(".bin")]
