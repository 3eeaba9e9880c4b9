"""The examples in the package's docstrings."""

import doctest
import importlib
from pathlib import Path

import pytest

import carvana

SRC = Path(carvana.__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(SRC).with_suffix("").parts)
    for path in sorted(SRC.glob("carvana/**/*.py"))
    if ">>>" in path.read_text()
]


def test_there_are_examples() -> None:
    assert MODULES


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SRC.parent)  # examples name files of the project
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
