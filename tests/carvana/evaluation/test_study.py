"""Studies: recipes side by side."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.errors import UserError
from carvana.evaluation.scores import mean_with_ci, paired_difference
from carvana.evaluation.study import Study, cells, draw, markdown, read_study, summarize_runs
from carvana.runs import RunDir


def _scores(by_car: np.ndarray) -> pd.DataFrame:
    names = [f"{car:012x}_{angle + 1:02d}.jpg" for car in range(len(by_car)) for angle in range(16)]
    return pd.DataFrame({"img": names, "dice": np.repeat(by_car, 16)})


def _run(folder: Path, dice: np.ndarray) -> RunDir:
    run = RunDir(folder / "fold-0")
    run.folder.mkdir(parents=True)
    _scores(dice).to_csv(run.scores, index=False)
    pd.DataFrame({"train_s": [30.0, 30.0]}).to_csv(run.history, index=False)
    return run


def test_a_paired_difference_is_surer_than_the_means() -> None:
    """Cars differ by 0.01, the two recipes by 0.001 on each car: only the pairing shows it."""
    cars = np.random.default_rng(0).normal(0.98, 0.01, size=20)
    better = _scores(cars + np.random.default_rng(1).normal(0.001, 0.0002, size=20))
    change = paired_difference(better, _scores(cars))
    assert change.dice == pytest.approx(0.001, abs=2e-4)
    assert 0 < change.low < change.dice < change.high
    assert mean_with_ci(better).low < mean_with_ci(_scores(cars)).dice


def test_other_photos_are_not_paired() -> None:
    with pytest.raises(UserError, match="of 32 and of 16 photos have 16 in common"):
        paired_difference(_scores(np.ones(2)), _scores(np.ones(1)))


def test_the_page_holds_every_recipe(tmp_path: Path) -> None:
    study = Study(
        title="Does it help?",
        baseline="plain",
        common=["base_filters=8"],
        recipes={"plain": [], "deep": ["depth=5"]},
    )
    plain, deep = (
        _run(tmp_path / "plain", np.array([0.9, 0.8])),
        _run(tmp_path / "deep", np.array([0.92, 0.83])),
    )
    results = [
        summarize_runs("plain", [plain], [plain], parameters=1000, photos=300),
        summarize_runs("deep", [deep], [plain], parameters=2000, photos=300),
    ]
    assert cells(results[0])[:4] == ["plain", "0.850000", "0.800000 .. 0.900000", ""]
    assert cells(results[1])[3:] == ["+0.025000", "+0.020000 .. +0.030000", "2,000", "1.0", "10.0"]
    page = markdown(study, results, "On two cars.", "figure.png")
    assert "| deep | 0.875000 |" in page
    assert "- all: `base_filters=8`\n- `deep`: `depth=5`" in page
    draw(study, results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "width"), [("post-claims", 8), ("training-craft", 12)])
def test_the_projects_own_studies_can_be_read(name: str, width: int) -> None:
    study = read_study(Path(__file__).parents[3] / "studies" / f"{name}.toml")
    assert {study.recipe(name).base_filters for name in study.recipes} == {width}


def test_a_recipe_may_be_trained_in_several_ways() -> None:
    study = Study(title="x", baseline="fast", recipes={"fast": (), "fast@again": ("seed=1",)})
    assert [(study.recipe(name).name, study.recipe(name).seed) for name in study.recipes] == [
        ("fast", 0),
        ("fast@again", 1),
    ]
    assert study.recipe("fast@again").model == study.recipe("fast").model


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('title = "x"\nbaseline = "a"\nrecipes = {b = []}', "its baseline 'a' is not among its recipes"),
        ('title = "x"\nbaseline = "a"\nrecipe = {a = []}', "recipes: field required"),
        ("title", "not a TOML file"),
    ],
)
def test_what_is_no_study(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(UserError, match=says):
        read_study(tmp_path / "study.toml")
