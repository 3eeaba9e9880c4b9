"""Data that the tests share: small, rendered by the turntable."""

import os
import shutil
from pathlib import Path

import pytest

from carvana.data.turntable import render_folder

SRC = Path(__file__).parent.parent / "src"


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 4 cars to train on and 2 to predict, 96x64. Tests read it only."""
    root = tmp_path_factory.mktemp("rendered") / "data"
    render_folder(root, cars=4, test_cars=2, size=(64, 96), seed=3)
    return root


@pytest.fixture
def data(rendered: Path, tmp_path: Path) -> Path:
    """The like, to change as a test likes."""
    return Path(shutil.copytree(rendered, tmp_path / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A user's own Carvana photos, at $CARVANA_DATA."""
    if not os.environ.get("CARVANA_DATA"):
        pytest.skip("needs a folder of real Carvana photos at $CARVANA_DATA")
    return Path(os.environ["CARVANA_DATA"])
