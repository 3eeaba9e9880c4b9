"""The requirements: every import is declared, and the lock files hold the declared versions."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["src", "benchmarks", "tests"]
PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
OPTIONAL = {"jax", "torch", "nncf", "wandb"}
EXPORTED = {"onnxruntime"}  # imported by the exported script only, where it is run


def pins(*names: str) -> dict[str, str]:
    """The distributions that requirements files pin, with their versions."""
    found = [pin for name in names for pin in PINNED.findall((ROOT / name).read_text())]
    return {_normalized(name): version for name, version in found}


def imported(*folders: str) -> dict[str, str]:
    """The distributions that Python files in folders import, each with one of the files."""
    files = {folder: sorted((ROOT / folder).rglob("*.py")) for folder in FOLDERS}
    own = {*FOLDERS, "carvana"} | {path.stem for paths in files.values() for path in paths}
    distributions = packages_distributions()
    found = {}
    for path in (path for folder in folders for path in files[folder]):
        for module in _imported_modules(path) - own - OPTIONAL - sys.stdlib_module_names:
            for distribution in distributions[module]:
                found[_normalized(distribution)] = str(path.relative_to(ROOT))
    return found


def _imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module.split(".")[0])
    return modules


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_declared() -> None:
    declared = pins("requirements.txt")
    needed = imported("src", "benchmarks")
    assert {name: file for name, file in needed.items() if name not in declared.keys() | EXPORTED} == {}
    declared |= pins("requirements-test.txt")
    assert {name: file for name, file in imported("tests").items() if name not in declared} == {}


@pytest.mark.parametrize("name", ["requirements", "requirements-test"])
def test_a_lock_holds_the_declared_versions(name: str) -> None:
    assert pins(f"{name}.txt").items() <= pins(f"{name}.lock").items()


@pytest.mark.parametrize("name", ["requirements-cuda", "requirements-test"])
def test_a_lock_agrees_with_that_of_the_project(name: str) -> None:
    base, added = pins("requirements.lock"), pins(f"{name}.lock")
    assert {package: added[package] for package in added.keys() & base.keys()}.items() <= base.items()


@pytest.mark.parametrize("name", ["requirements", "requirements-cuda", "requirements-test"])
def test_a_lock_has_hashes_and_names_no_registry(name: str) -> None:
    text = (ROOT / f"{name}.lock").read_text()
    for entry in re.split(r"\n(?=\S)", text):
        assert entry.startswith("#") or "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert "--index-url" not in text
