"""Inputs of a notebook's session: the competition's data, trained networks, and an earlier version's output."""

import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from carvana.data.zips import PARTS, unpack, zip_name
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.kaggle.manifest import MANIFEST, Manifest, read_manifest
from carvana.kaggle.session.attached import COMPETITION, attached_files, competition_folders

_NETWORKS = ("model.keras", "refiner.keras")


def competition_folder(inputs: Path) -> Path:
    """Return the folder of the competition's data; Kaggle has two layouts of `/kaggle/input`.

    Raises:
        UserError: the competition is not attached.
    """
    for folder in competition_folders(inputs):
        if folder.is_dir():
            return folder
    raise UserError(
        f"{inputs}: lacks the competition's data; accept the rules at"
        f" https://www.kaggle.com/competitions/{COMPETITION}/rules with the account of the notebook"
    )


def prepare_data(source: Path, parts: Sequence[str], data: Path) -> None:
    """Fill a data folder with parts of the competition: zips are unpacked, folders are linked to.

    Args:
        source: the folder of the competition's data, which is only read.
        parts: names of `carvana.data.zips.PARTS`.
        data: the data folder.

    Raises:
        UserError: a part is missing, or its zip is damaged.
    """
    data.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if (data / part).exists():
            continue
        archive, files = source / zip_name(part, False), _unpacked(source, part)
        if archive.is_file():
            unpack(archive, part, data)
        elif files:
            (data / part).symlink_to(files)
        else:
            raise UserError(f"{source}: has neither {archive.name} nor {part}")


def find_networks(inputs: Path, digests: Mapping[str, str]) -> dict[str, Path]:
    """Find networks among the attached outputs and datasets by their SHA-256.

    Args:
        inputs: the folder of all inputs.
        digests: SHA-256 of each network by its path `RECIPE/fold-K/NAME.keras`.

    Returns:
        The file of each network, by the same path.

    Raises:
        UserError: a network is missing.
    """
    wanted = set(digests.values())
    found: dict[str, Path] = {}
    for path in attached_files(inputs, _NETWORKS):
        if found.keys() == wanted:
            break
        digest = sha256_of_file(path)
        if digest in wanted:
            found.setdefault(digest, path)
    missing = [name for name, digest in digests.items() if digest not in found]
    if missing:
        raise UserError(
            f"{inputs}: lacks {', '.join(missing)}, or holds other weights of that name; train with --on kaggle, or"
            " upload the runs as a dataset and name it by --attach OWNER/NAME"
        )
    return {name: found[digest] for name, digest in digests.items()}


def restore_earlier(inputs: Path, key: str, work: Path) -> Manifest:
    """Restore what an earlier version of the notebook left: finished files and the state of unfinished ones.

    Args:
        inputs: the folder of all inputs.
        key: the key of the session's settings, which the earlier version must have, too.
        work: the folder that the files are restored to.

    Raises:
        UserError: no input is the output of an earlier version, or one of its files was changed.
    """
    for path in attached_files(inputs, [MANIFEST]):
        manifest = read_manifest(path)
        if manifest.key == key:
            _restore(path.parent, manifest, work)
            return manifest
    raise UserError(f"{inputs}: lacks the output of the notebook's earlier version, from which it continues")


def _unpacked(source: Path, part: str) -> Path | None:
    """Return the folder or table of a part that Kaggle has unpacked, also within a folder of the same name."""
    for path in (source / part / part, source / part):
        if path.is_file() if PARTS[part] == part else any(path.glob(PARTS[part])):
            return path
    return None


def _restore(source: Path, manifest: Manifest, work: Path) -> None:
    for name, entry in {**manifest.files, **manifest.state}.items():
        entry.check(source / name)
    for name in manifest.files:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, work / name)
    for name in manifest.state:
        with tarfile.open(source / name) as archive:
            archive.extractall(work, filter="data")
