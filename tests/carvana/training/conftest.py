"""Fixtures that the tests of training share."""

from pathlib import Path

import pytest

from carvana.data.dataset import train_samples
from carvana.data.split import Split


@pytest.fixture(scope="session")
def split(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Split:
    """The rendered cars in two folds."""
    photos = train_samples(rendered)
    cars = sorted({photo.car for photo in photos})
    table = tmp_path_factory.mktemp("folds") / "two.csv"
    table.write_text("car,fold\n" + "".join(f"{car},{n % 2}\n" for n, car in enumerate(cars)))
    return Split.read(photos, table)
