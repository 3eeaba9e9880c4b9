"""The model card of weights: its numbers are those of the runs."""

from pathlib import Path

import pandas as pd
import pytest

from carvana.evaluation.model_card import dice_by_angle, write_model_card
from carvana.evaluation.scores import mean_with_ci
from carvana.recipe import read_recipe, write_recipe
from carvana.runs import RunDir, RunMetadata, TrainingRecord, run_dir
from carvana.weights import FoldScore, WeightsDescription, write_description

RECIPE = read_recipe("fast")
CARS = ["00087a6bd4dc", "02159e548029", "0495dcf27283"]
ERRORS = "img,map,dice,within_2,within_4,within_8,within_16,within_32,beyond_32\n"


def _fold(runs: Path, fold: int, cars: list[str]) -> RunDir:
    """Write the scores of a fold: 0.99 and a little more for each angle."""
    run = run_dir(runs, RECIPE, fold)
    run.folder.mkdir(parents=True)
    photos = [f"{car}_{angle:02d}.jpg" for car in cars for angle in range(1, 17)]
    rows = [f"{photo},{0.99 + int(photo[13:15]) / 10000:.4f}" for photo in photos]
    run.scores.write_text("img,dice\n" + "\n".join(rows) + "\n")
    run.errors.write_text(ERRORS + "".join(f"{photo},refined,0.99,60,20,10,5,4,1\n" for photo in photos))
    return run


@pytest.fixture
def card(tmp_path: Path) -> str:
    """The card of weights whose recipe has two folds, of two cars and one car."""
    folds = [_fold(tmp_path / "runs", 0, CARS[:2]), _fold(tmp_path / "runs", 1, CARS[2:])]
    weights = RunDir(tmp_path / "weights" / "fast")
    weights.folder.mkdir(parents=True)
    weights.model.write_bytes(bytes(4_000_000))
    weights.refiner.write_bytes(bytes(2_100_000))
    write_recipe(RECIPE, weights.recipe)
    weights.write_metadata(
        RunMetadata(table="carvana-5", folds=[0, 1], split="a", backend="tensorflow", keras="3.15.1")
    )
    weights.write_training_record(
        TrainingRecord(photos=48, cars=3, minutes=15.55, resumed=False, machine="2 cores", commit="1a2b3c4")
    )
    digests = {path.name: "0" * 64 for path in weights.folder.iterdir()}
    scores = [FoldScore(fold=run.fold, dice=0.990850, photos=len(run.read_scores())) for run in folds]
    write_description(WeightsDescription(recipe="fast", sha256=digests, out_of_fold=scores), weights.folder)
    return write_model_card(weights, folds).read_text()


@pytest.mark.parametrize(
    "expected",
    [
        "| photos | 48 of 3 labelled cars",
        "| duration | 15.6 minutes, with whatever else ran on the machine |",
        "| machine | 2 cores |",
        "commit `1a2b3c4`, Keras 3.15.1 on tensorflow",
        "5 at 288x192, 3 at 576x384, 4 of the refinement network",
        "photos at their own size: **0.990850**",
        "3 cars instead of 1 to 2.",
        "| 0 | 0.990850 | 32 |\n| 1 | 0.990850 | 16 |",
        "| 1 | 0.990100 | 0.9901 | 0.9901 |\n| 2 | 0.990200",
        "\n  The lowest angles are 1, 2, 3 and 4 (1",
        "Of the wrong pixels, 60% lie within 2 pixels of the true contour, and 5% more than 16 pixels",
        "6.1 MB in float16",
        "not under the project's MIT\nlicence",
        "--fold none\n./run.sh export --recipe fast --format weights --out weights",
    ],
)
def test_the_card_says(card: str, expected: str) -> None:
    assert expected in card


def test_the_scores_of_an_angle_are_summarized() -> None:
    scores = pd.DataFrame(
        {
            "img": [f"{CARS[0]}_01.jpg", f"{CARS[1]}_01.jpg", f"{CARS[0]}_05.jpg"],
            "dice": [0.9, 1.0, 0.5],
        }
    )
    table = dice_by_angle(scores)
    assert table["angle"].tolist() == [1, 5]
    assert table["mean"].tolist() == pytest.approx([0.95, 0.5])
    assert table["lowest"].tolist() == [0.9, 0.5]
    assert table["low"].tolist() == pytest.approx([0.905, 0.5])
    assert table["photos"].tolist() == [2, 1]
    assert mean_with_ci(scores).photos == 3
