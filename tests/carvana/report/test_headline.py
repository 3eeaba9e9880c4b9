"""The headline of the report."""

from pathlib import Path

import pytest

from carvana.report.experiments import Experiment, find_experiments
from carvana.report.headline import headline
from carvana.runs import RunDir
from carvana.submission.ledger import COLUMNS, LedgerRow


def _row(submission: str, **columns: str) -> LedgerRow:
    recipe = submission.split("-")[0].removesuffix(".csv.gz")
    known = {
        "submission": submission,
        "recipe": recipe,
        "fold": "all",
        "sha256": submission,
        "folds": "data-2",
    }
    return dict.fromkeys(COLUMNS, "") | known | columns


ROWS = [
    _row("fast.csv.gz", cv_dice="0.9951", tta="none", board="local", public="0.9940", private="0.9948"),
    _row("hour-fold0.csv.gz", fold="0", cv_dice="0.9970", board="local", public="0.9930", private="0.9961"),
    _row("hour.csv.gz", cv_dice="0.9960", cv_low="0.9955", cv_high="0.9966", tta="flip"),
]


def _write_run(runs: Path, recipe: str, fold: int, dice: float, settings: str = "") -> None:
    run = RunDir(runs / recipe / f"fold-{fold}")
    run.folder.mkdir(parents=True)
    stage = "[[stages]]\nsize = [32, 48]\nepochs = 1\nbatch_size = 8\nlearning_rate = 0.01\n"
    run.recipe.write_text(f"{settings}\n{stage}")
    photos = [f"{fold}0087a6bd4dc_{angle:02d}.jpg,{dice}" for angle in range(1, 17)]
    run.scores.write_text("\n".join(["img,dice", *photos]) + "\n")


@pytest.fixture
def experiments(tmp_path: Path) -> list[Experiment]:
    for fold in range(2):
        _write_run(tmp_path / "runs", "fast", fold, 0.9951)
        _write_run(tmp_path / "runs", "hour", fold, 0.9960, 'tta = "none"\nseed = 3')
    return find_experiments(tmp_path / "runs")


def _facts(rows: list[LedgerRow], experiments: list[Experiment], folder: Path) -> dict[str, tuple[str, str]]:
    return {fact.title: (fact.value, " ".join(fact.lines)) for fact in headline(rows, experiments, folder)}


def test_the_best_cross_validation_is_that_of_the_runs(tmp_path: Path, experiments: list[Experiment]) -> None:
    value, text = _facts(ROWS, experiments, tmp_path)["Best cross-validation"]
    assert value == "0.996000"
    assert "Recipe hour: mean Dice of 32 out-of-fold photos of 2 folds." in text
    assert "The second best, fast, differs by -0.000900 on the 32 common photos" in text


def test_a_recipe_without_runs_counts_by_the_ledger(tmp_path: Path, experiments: list[Experiment]) -> None:
    rows = [*ROWS, _row("best.csv.gz", cv_dice="0.9971")]
    value, text = _facts(rows, experiments, tmp_path)["Best cross-validation"]
    assert value == "0.9971"
    assert "Recipe best: its submission best.csv.gz in the ledger." in text


def test_the_best_board_score_is_the_highest_private_one(tmp_path: Path) -> None:
    value, text = _facts(ROWS, [], tmp_path)["Best board score"]
    assert value == "0.9961"
    assert "hour-fold0.csv.gz: private score on the local board" in text
    assert "Its public score is 0.9930." in text
    rows = [*ROWS, _row("fast.csv.gz", board="kaggle", public="0.9920")]
    assert _facts(rows, [], tmp_path)["Best board score"][0] == "0.9920"  # Kaggle's board comes first


def test_the_file_to_submit_is_the_best_ensemble_by_cross_validation(tmp_path: Path) -> None:
    (tmp_path / "hour.csv.gz").touch()
    value, text = _facts(ROWS, [], tmp_path)["File to submit"]
    assert value == "hour.csv.gz"
    assert f"Not submitted yet: `./run.sh submit {tmp_path / 'hour.csv.gz'}`." in text
    value, text = _facts(ROWS[:2], [], tmp_path)["File to submit"]
    assert value == "fast.csv.gz"
    assert "A single network of recipe hour has a higher one, of its own fold: 0.9970." in text
    assert "Scored by the local board (rendered test photos): public 0.9940, private 0.9948." in text
    assert "The file is not in" in text


def test_the_newest_submission_is_compared_with_the_one_before(
    tmp_path: Path, experiments: list[Experiment]
) -> None:
    value, text = _facts(ROWS, experiments, tmp_path)["Newest submission"]
    assert value == "hour.csv.gz"
    assert "Compared with fast.csv.gz, the one before it:" in text
    assert "cross-validation 0.9960 (+0.000900)" in text
    assert "Changed: recipe: fast -> hour; tta: none -> flip; seed: 0 -> 3." in text
    assert "no earlier submission" in _facts(ROWS[:1], [], tmp_path)["Newest submission"][1]


def test_the_recipe_trained_last_is_compared_with_the_one_before(
    tmp_path: Path, experiments: list[Experiment]
) -> None:
    value, text = _facts(ROWS, experiments, tmp_path)["Recipe trained last"]
    assert value == "hour"
    assert "Dice +0.000900 against fast, which was trained before it, on 32 common photos" in text
    assert "Changed: seed: 0 -> 3; tta: flip -> none." in text


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    facts = _facts([], [], tmp_path)
    assert [value for value, _ in facts.values()] == ["none yet"] * 3
