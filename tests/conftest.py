"""Fixtures that all tests share: small rendered data, and a stand-in for Kaggle."""

import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from carvana.data.zips import PARTS
from carvana.turntable import render_dataset

from .kaggle_stand_in import TOKEN, KaggleStandIn, running

SRC = Path(__file__).parent.parent / "src"

hypothesis.settings.register_profile("no deadline", deadline=None)  # machines are shared, and differ
hypothesis.settings.load_profile("no deadline")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Give each process of pytest-xdist, and all that it starts, one thread: together they use all cores."""
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that no process runs the last of them while others are idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 4 cars to train on and 2 to predict, 96x64. Tests only read it."""
    root = tmp_path_factory.mktemp("rendered") / "data"
    render_dataset(root, cars=4, test_cars=2, size=(64, 96), seed=3)
    return root


@pytest.fixture
def data(rendered: Path, tmp_path: Path) -> Path:
    """A copy of `rendered` that the test may change."""
    return Path(shutil.copytree(rendered, tmp_path / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real Carvana photos at $CARVANA_DATA."""
    if not os.environ.get("CARVANA_DATA"):
        pytest.skip("needs a folder of real Carvana photos at $CARVANA_DATA")
    return Path(os.environ["CARVANA_DATA"])


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleStandIn]:
    """A stand-in for Kaggle. Environment variables direct the real client to it; none holds credentials."""
    for name in [name for name in os.environ if name.startswith("KAGGLE_") or name.startswith("VERBOSE")]:
        monkeypatch.delenv(name)
    for name in [name for name in sys.modules if name.split(".")[0] == "kaggle"]:
        monkeypatch.delitem(sys.modules, name)  # it reads the environment when it is imported
    with running(KaggleStandIn(tmp_path / "kaggle")) as stand_in:
        for name, value in stand_in.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        yield stand_in


@pytest.fixture
def signed_in(kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch) -> KaggleStandIn:
    """The stand-in for Kaggle, with a valid token in the environment."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    return kaggle


@pytest.fixture(scope="session")
def zips(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the zips of the competition, as in a Kaggle notebook. Tests only read it."""
    folder = tmp_path_factory.mktemp("zips")
    for part in PARTS:
        with zipfile.ZipFile(folder / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            files = [rendered / part] if part.endswith(".csv") else sorted((rendered / part).iterdir())
            for file in files:
                packed.write(file, file.relative_to(rendered))
            packed.writestr(f"__MACOSX/{part}/._{files[0].name}", "what a Mac adds")
    return folder
