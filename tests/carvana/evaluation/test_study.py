"""Studies: recipes trained on the same folds and compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carvana.errors import UserError
from carvana.evaluation.scores import mean_with_ci
from carvana.evaluation.study import (
    Result,
    Study,
    cells,
    check_replaceable,
    read_study,
    summarize_runs,
    write_study,
)
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import RunDir


def _scores(by_car: np.ndarray) -> pd.DataFrame:
    names = [f"{car:012x}_{angle + 1:02d}.jpg" for car in range(len(by_car)) for angle in range(16)]
    return pd.DataFrame({"img": names, "dice": np.repeat(by_car, 16)})


def _run(folder: Path, dice: np.ndarray) -> RunDir:
    run = RunDir(folder / "fold-0")
    run.folder.mkdir(parents=True)
    _scores(dice).to_csv(run.scores, index=False)
    columns = ["epoch", "stage", "height", "width", "learning_rate", "loss", "dice", "validation_s"]
    history: dict = dict.fromkeys(columns, 1) | {"train_s": [30.0, 30.0]}
    pd.DataFrame(history).to_csv(run.history, index=False)
    return run


def test_the_page_lists_every_recipe(tmp_path: Path) -> None:
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
        summarize_runs("plain", [plain], [plain], parameters=1000),
        summarize_runs("deep", [deep], [plain], parameters=2000),
    ]
    assert cells(results[0])[:4] == ["plain", "0.850000", "0.800000 .. 0.900000", ""]
    assert cells(results[1])[3:] == ["+0.025000", "+0.020000 .. +0.030000", "2,000", "1.0"]
    write_study(study, results, "On two cars.", tmp_path / "page.toml")
    page = (tmp_path / "page.md").read_text()
    assert "![Differences from plain](page.png)" in page
    assert "| deep | 0.875000 |" in page
    assert "- all: `base_filters=8`\n- `deep`: `depth=5`" in page
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def _write_study(path: Path) -> None:
    dice = mean_with_ci(_scores(np.array([0.1, 0.2])))
    result = Result("plain", dice, None, parameters=1, minutes=1)
    write_study(Study(title="x", baseline="plain", recipes={"plain": ()}), [result], "On two cars.", path)


def test_a_study_replaces_its_own_page_and_figure_only(tmp_path: Path) -> None:
    study, other = tmp_path / "README.toml", tmp_path / "other.toml"
    check_replaceable(study)
    for _ in range(2):
        _write_study(study)
        check_replaceable(study)
    page, figure = tmp_path / "README.md", tmp_path / "README.png"
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n") + b"A remark.")
    check_replaceable(study)  # a page with other ends of lines, or with remarks, is still the study's
    _write_study(other)
    Image.new("L", (2, 2)).save(tmp_path / "plain.png")
    of_others = {
        page: [b"# My notes\n", b"", b"\xff\xfe", (tmp_path / "other.md").read_bytes()],
        figure: [
            b"",
            b"\x89PNG",
            (tmp_path / "plain.png").read_bytes(),
            (tmp_path / "other.png").read_bytes(),
        ],
    }
    for file, contents in of_others.items():
        before = file.read_bytes()
        for content in contents:
            file.write_bytes(content)
            with pytest.raises(
                UserError, match=rf"{file.name}: exists, and was not written for README\.toml"
            ):
                check_replaceable(study)
        file.write_bytes(before)
    page.unlink()
    page.mkdir()
    with pytest.raises(UserError, match=r"README\.md: exists"):
        check_replaceable(study)


def test_the_projects_own_studies_may_be_repeated() -> None:
    studies = sorted((Path(__file__).parents[3] / "studies").glob("*.toml"))
    assert studies
    for path in studies:
        check_replaceable(path)


@pytest.mark.parametrize(("name", "width"), [("post-claims", 8), ("training-craft", 12)])
def test_the_projects_own_studies_can_be_read(name: str, width: int) -> None:
    study = read_study(Path(__file__).parents[3] / "studies" / f"{name}.toml")
    assert {study.recipe(name).base_filters for name in study.recipes} == {width}


def test_a_recipe_may_have_several_variants() -> None:
    study = Study(title="x", baseline="fast", recipes={"fast": (), "fast@again": ("seed=1",)})
    assert [(study.recipe(name).name, study.recipe(name).seed) for name in study.recipes] == [
        ("fast", 0),
        ("fast@again", 1),
    ]
    assert study.recipe("fast@again").model == study.recipe("fast").model


def test_runs_of_a_recipes_file_have_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    write_recipe(read_recipe("fast"), path)
    study = Study(title="x", baseline="fast", recipes={f"{path}@deep": ("depth=3",)})
    assert study.recipe(f"{path}@deep").name == "mine@deep"


def test_dollar_signs_in_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ["$plain$", "$x^{$", r"$\\frac$", "$"]
    study = Study(title="x", baseline=names[0], recipes=dict.fromkeys(names, ()))
    difference = mean_with_ci(_scores(np.array([0.1, 0.2])))
    results = [
        Result(
            name,
            difference,
            None if name == names[0] else difference,
            parameters=1,
            minutes=1,
        )
        for name in names
    ]
    write_study(study, results, "On two cars.", tmp_path / "page.toml")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\nbaseline = "a"\nrecipes = {b = []}', "its baseline 'a' is not among its recipes"),
        ('title = "x"\nbaseline = "a"\nrecipe = {a = []}', "recipes: field required"),
        ("title", "not a TOML file"),
        (
            'title = "x"\nbaseline = "a"\nrecipes = {a = [], "a@../../b" = []}',
            "a recipe cannot be named 'a@../../b'",
        ),
        ('title = "x"\nbaseline = ".."\nrecipes = {".." = []}', r"a recipe cannot be named '\.\.'"),
        ('title = "x"\nbaseline = "..toml"\nrecipes = {"..toml" = []}', r"a recipe cannot be named '\.'"),
        ('title = "x"\nbaseline = "a\\u0000"\nrecipes = {"a\\u0000" = []}', "a recipe cannot be named"),
        (
            'title = "x"\nbaseline = "a"\nrecipes = {a = [], "my/a.toml" = []}',
            "a and my/a.toml: would be written to the same runs, a",
        ),
    ],
)
def test_a_malformed_study_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_study(tmp_path / "study.toml")
