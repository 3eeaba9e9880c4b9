"""The notebook `notebooks/carvana.ipynb`, executed on rendered cars."""

from pathlib import Path

import pytest

from carvana.turntable import render_dataset

from .test_run import RECIPE, ROOT, Checkout

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = ROOT / "notebooks" / "carvana.ipynb"


def texts(notebook: dict) -> list[str]:
    """The printed text of each cell of code."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(output.get("text", "") for output in cell["outputs"]) for cell in cells]


def test_its_outputs_are_small() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert len(texts(notebook)) == 6
    assert NOTEBOOK.stat().st_size < 200_000
    assert not any("/home/" in text or "/tmp/" in text for text in texts(notebook))


def test_without_the_project_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="set REPOSITORY, or attach the project as a dataset"):
        exec(notebook["cells"][1]["source"], {})


@pytest.mark.slow
def test_it_runs_from_the_code_to_the_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Checkout(tmp_path / "checkout")
    render_dataset(tmp_path / "data", cars=5, test_cars=2, size=(64, 96), seed=3)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    monkeypatch.setenv("RECIPE", str(tmp_path / "tiny.toml"))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    folder = checkout.folder / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    prepared, trained, shown, predicted, submitted, used = texts(notebook)
    assert "Images in" in prepared
    assert "Out-of-fold Dice" in trained
    assert "1 photo cut out" in shown
    assert "Submissions, checked" in predicted
    assert "Scored by the local board" in submitted
    assert "% of " in used
    assert "\x1b" not in submitted  # no codes of a terminal
    pictures = [
        output for output in notebook["cells"][3]["outputs"] if output["output_type"] == "display_data"
    ]
    assert len(pictures) == 3
