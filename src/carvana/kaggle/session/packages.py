"""Packages of a notebook's image, compared with the project's pins, and the installation of missing ones.

This module imports only the standard library, because it runs before anything is installed.
"""

import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from carvana.kaggle.session.attached import INPUTS, attached_files

_MODULES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "segmentation-models": "segmentation_models",
    "tomli-w": "tomli_w",
    "pydantic-core": "pydantic_core",
}
"""Modules by package, where the names differ."""
_UNUSED = {
    *("bokeh", "jinja2", "markupsafe", "onnx", "openvino", "setuptools", "tf2onnx"),
    *("kaggle", "kagglesdk", "requests", "urllib3"),
}
"""Packages that neither training nor prediction imports."""
_ENCODERS = {"segmentation-models", "efficientnet"}
"""Packages that only recipes with an encoder import."""
_SECRET = re.compile(r"//[^/@\s]*@")
"""Credentials in an address of pip's output."""


@dataclass(frozen=True)
class Package:
    """A package that the project needs, and what is installed of it."""

    name: str
    pin: str
    """The project's version."""
    installed: str
    """The installed version; "" if the package is missing."""

    def __str__(self) -> str:
        """Return e.g. `keras 3.10.0 (pinned 3.15.1)`."""
        return f"{self.name} {self.installed or 'is missing'} (pinned {self.pin})"


class MissingPackagesError(Exception):
    """Packages are missing, and cannot be installed."""


def read_pins(requirements: str, *, encoders: bool) -> dict[str, str]:
    """Return the pinned version of each package that training and prediction import.

    Args:
        requirements: the text of requirements.txt, lines `name==version`.
        encoders: include the packages of networks with an encoder.
    """
    lines = [line.partition("#")[0].strip() for line in requirements.splitlines()]
    pins = dict(line.split("==") for line in lines if line)
    skipped = _UNUSED | (set() if encoders else _ENCODERS)
    return {name: pin for name, pin in pins.items() if name not in skipped}


def find_packages(pins: Mapping[str, str]) -> list[Package]:
    """Find what is installed of the pinned packages."""
    importlib.invalidate_caches()
    distributions = metadata.packages_distributions()
    return [Package(name, pin, _installed(name, distributions)) for name, pin in pins.items()]


def ensure_packages(pins: Mapping[str, str], *, offline: bool, wheels: Iterable[Path] = ()) -> list[Package]:
    """Install missing packages at their pins, without changing what is installed.

    Args:
        pins: the project's versions by package.
        offline: whether there is no internet.
        wheels: folders of wheels that pip may install, also without internet.

    Returns:
        All packages, with their installed versions.

    Raises:
        MissingPackagesError: a package is missing, and cannot be installed.
    """
    packages = find_packages(pins)
    missing = [package for package in packages if not package.installed]
    if not missing:
        return packages
    names = ", ".join(package.name for package in missing)
    folders = [str(folder) for folder in wheels]
    if offline and not folders:
        raise MissingPackagesError(
            f"the notebook has no internet, and its image lacks {names}; attach a dataset of their wheels by"
            " --attach OWNER/NAME, or run without --offline"
        )
    print(f"installing {names}", flush=True)
    error = _pip_install([f"{package.name}=={package.pin}" for package in missing], offline, folders)
    packages = find_packages(pins)
    missing = [package for package in packages if not package.installed]
    if missing:
        raise MissingPackagesError(
            f"pip cannot install {', '.join(package.name for package in missing)} ({error})"
        )
    return packages


def describe_differences(packages: Sequence[Package]) -> str:
    """Return one line about the packages whose version is not the pinned one."""
    differing = [str(package) for package in packages if package.installed != package.pin]
    return f"versions that differ from the pins: {', '.join(differing) or 'none'}"


def _installed(name: str, distributions: Mapping[str, Sequence[str]]) -> str:
    module = _MODULES.get(name, name)
    spec = util.find_spec(module)
    if spec is None or spec.origin is None:  # a folder without a module
        return ""
    for distribution in distributions.get(module, ()):
        return metadata.version(distribution)
    return "of unknown version"


def _pip_install(requirements: Sequence[str], offline: bool, wheels: Sequence[str]) -> str:
    """Install packages, and return the last line of pip's errors."""
    installed = {
        distribution.metadata["Name"]: distribution.version for distribution in metadata.distributions()
    }
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.writelines(f"{name}=={version}\n" for name, version in installed.items() if name)
        constraints.flush()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--constraint", constraints.name, *(["--no-index"] if offline else [])]
        for folder in wheels:
            command += ["--find-links", folder]
        result = subprocess.run([*command, *requirements], capture_output=True, text=True)
    lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
    return _SECRET.sub("//", lines[-1])


def main(requirements: Path) -> None:
    """Install what a notebook's image lacks, for `run.sh`; what cannot be installed is named in one line.

    Args:
        requirements: the file requirements.txt.
    """
    wheels = sorted({path.parent for path in attached_files(INPUTS, ["*.whl"])})
    try:
        ensure_packages(read_pins(requirements.read_text(), encoders=False), offline=False, wheels=wheels)
    except MissingPackagesError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
