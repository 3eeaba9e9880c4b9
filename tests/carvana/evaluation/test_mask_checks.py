"""Checks before upload."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.competition.names import photo_name
from carvana.evaluation import mask_checks


@pytest.fixture
def facts() -> pd.DataFrame:
    """Of 12 cars: some larger than others, all larger from the side, nothing wrong."""
    random = np.random.default_rng(0)
    rows = []
    for car in range(12):
        for angle in range(1, 17):
            side = 1 + 0.5 * abs(np.sin(angle / 16 * 2 * np.pi))
            area = 400_000 * (1 + car / 20) * side * random.normal(1, 0.01)
            rows.append((photo_name(f"{car:012x}", angle), 1280, 1918, round(area), 1, 0, 0.01))
    return pd.DataFrame(
        rows, columns=["img", "height", "width", "area", "n_components", "second_area", "disagreement"]
    )


def test_nothing_stands_out_where_nothing_is_wrong(facts: pd.DataFrame) -> None:
    photos = mask_checks.measure_masks(facts)
    assert not photos["outlier"].any()
    assert [row[1] for row in mask_checks.table(photos)] == ["0"] * 5
    assert photos["share"].between(0.1, 0.5).all()


def test_what_went_wrong_is_listed_first_with_its_reason(facts: pd.DataFrame) -> None:
    facts.loc[5, "area"] = 0
    facts.loc[40, "area"] *= 1.4
    facts.loc[77, "second_area"] = 9_000
    facts.loc[100, "disagreement"] = 0.3
    facts.loc[120, "n_components"] = 7
    photos = mask_checks.measure_masks(facts)
    assert photos["img"][photos["outlier"]].tolist() == facts["img"][[5, 40]].tolist()
    listed = mask_checks.rank_suspects(photos, 5)
    assert dict(zip(listed["img"], listed["reason"], strict=True)) == {
        facts["img"][5]: "empty",
        facts["img"][40]: "size unlike the car's other views",
        facts["img"][77]: "a second piece",
        facts["img"][120]: "in many pieces",
        facts["img"][100]: "the folds disagree",
    }
    shown = {row[0]: row[1:] for row in mask_checks.table(photos)}
    assert shown["empty masks"][0] == "1"
    assert shown["empty masks"][-1] == facts["img"][5]


def test_the_list_has_50_photos_each_once(facts: pd.DataFrame, tmp_path: Path) -> None:
    mask_checks.write_suspects(mask_checks.measure_masks(facts), tmp_path / "checks.csv")
    listed = pd.read_csv(tmp_path / "checks.csv")
    assert len(listed) == listed["img"].nunique() == mask_checks.MAX_SUSPECTS
    assert listed.columns.tolist() == [
        "img",
        "reason",
        "area",
        "share",
        "area_residual",
        "n_components",
        "second_area",
        "disagreement",
    ]


def test_a_single_empty_photo(facts: pd.DataFrame) -> None:
    photos = mask_checks.measure_masks(facts[:1].assign(area=0))
    assert mask_checks.rank_suspects(photos)["reason"].tolist() == ["empty"]
