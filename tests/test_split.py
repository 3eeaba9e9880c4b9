"""The script `split` and fold tables that exist."""

from pathlib import Path

import pytest

from carvana.data.folds import read_folds

from .scripts import error_of, output_of


@pytest.fixture
def folder(rendered: Path, tmp_path: Path) -> Path:
    """A folder with data and a table of two folds, under the name of a table of five."""
    (tmp_path / "data").symlink_to(rendered)
    output_of("split", "--n-folds", 2, "--out", "folds/data-5.csv", cwd=tmp_path)
    return tmp_path


def test_a_table_of_another_number_of_folds_is_not_kept_silently(folder: Path) -> None:
    table = folder / "folds" / "data-5.csv"
    before = table.read_bytes()
    message = error_of("split", "--n-folds", 4, "--out", "folds/data-5.csv", cwd=folder)
    assert message == (
        "error: folds/data-5.csv: exists and has 2 folds, not 4; choose another --out, or delete the table\n"
    )
    assert table.read_bytes() == before
    table.unlink()
    output_of("split", "--n-folds", 4, "--out", "folds/data-5.csv", cwd=folder)
    assert read_folds(table).nunique() == 4


@pytest.mark.parametrize("n_folds", [2, 3, 4])
def test_a_table_of_any_number_of_folds_is_kept(folder: Path, n_folds: int) -> None:
    table = folder / "folds" / "new.csv"
    output_of("split", "--n-folds", n_folds, "--out", "folds/new.csv", cwd=folder)
    before = table.read_bytes()
    for options in ([], ["--n-folds", n_folds]):
        text = output_of("split", *options, "--out", "folds/new.csv", cwd=folder)
        assert "exists and covers the" in text
        assert "--seed" not in text
    assert table.read_bytes() == before


def test_a_seed_that_has_no_effect_is_reported(folder: Path) -> None:
    before = (folder / "folds" / "data-5.csv").read_bytes()
    text = output_of("split", "--seed", 99, cwd=folder)
    assert "it is kept, and --seed 99 has no effect" in " ".join(text.split())
    assert (folder / "folds" / "data-5.csv").read_bytes() == before
