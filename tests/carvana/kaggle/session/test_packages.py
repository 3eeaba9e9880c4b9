"""Packages of a notebook's image: what is missing, what differs, and what is installed."""

import sys
import zipfile
from pathlib import Path

import pytest

from carvana.kaggle.session.packages import (
    MissingPackagesError,
    Package,
    describe_differences,
    ensure_packages,
    find_packages,
    read_pins,
)

REQUIREMENTS = (Path(__file__).parents[4] / "requirements.txt").read_text()


def test_pins_of_what_training_and_prediction_import() -> None:
    pins = read_pins(REQUIREMENTS, encoders=False)
    assert {"keras", "tensorflow", "isal", "simplejpeg", "distributed"} <= pins.keys()
    assert pins.keys().isdisjoint({"onnx", "kaggle", "jinja2", "segmentation-models"})
    assert "segmentation-models" in read_pins(REQUIREMENTS, encoders=True)
    assert all(pins.values())


def test_this_environment_has_all_of_them() -> None:
    packages = find_packages(read_pins(REQUIREMENTS, encoders=True))
    assert [package for package in packages if package.installed != package.pin] == []
    assert describe_differences(packages) == "versions that differ from the pins: none"


def test_versions_that_differ() -> None:
    packages = [Package("keras", "3.15.1", "3.10.0"), Package("pandas", "3.1.1", "3.1.1")]
    expected = "versions that differ from the pins: keras 3.10.0 (pinned 3.15.1)"
    assert describe_differences(packages) == expected


def test_missing_packages_without_internet_are_named() -> None:
    pins = {"keras": "3.15.1", "no-such-package": "1.0", "nor-this-one": "2.0"}
    with pytest.raises(
        MissingPackagesError, match=r"has no internet, and its image lacks no-such-package, nor-this"
    ):
        ensure_packages(pins, offline=True)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with a wheel of a package of one module."""
    with zipfile.ZipFile(tmp_path / "carvana_probe-1.5-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carvana_probe.py", "")
        info = "carvana_probe-1.5.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carvana_probe\nVersion: 1.5\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return tmp_path


def test_packages_are_installed_from_attached_wheels(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "installed"
    monkeypatch.setenv("PIP_TARGET", str(target))
    monkeypatch.syspath_prepend(target)
    (package,) = ensure_packages({"carvana_probe": "1.5"}, offline=True, wheels=[wheels])
    assert package.installed == "1.5"
    assert str(target) in sys.path


def test_a_failed_installation_is_one_line(wheels: Path) -> None:
    with pytest.raises(MissingPackagesError, match=r"pip cannot install carvana_probe \(ERROR: .*2\.0"):
        ensure_packages({"carvana_probe": "2.0"}, offline=True, wheels=[wheels])
