"""Measures of masks, and the list of suspects."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carvana.competition.names import photo_name
from carvana.evaluation import mask_checks


@pytest.fixture
def records() -> pd.DataFrame:
    """Records of 12 cars of different sizes, larger from the side, without any wrong mask."""
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


def test_correct_masks_have_no_outliers(records: pd.DataFrame) -> None:
    photos = mask_checks.measure_masks(records)
    assert not photos["outlier"].any()
    assert [row[1] for row in mask_checks.table(photos)] == ["0"] * 5
    assert photos["share"].between(0.1, 0.5).all()


def test_wrong_masks_are_listed_first_with_the_reason(records: pd.DataFrame) -> None:
    records.loc[5, "area"] = 0
    records.loc[40, "area"] *= 1.4
    records.loc[77, "second_area"] = 9_000
    records.loc[100, "disagreement"] = 0.3
    records.loc[120, "n_components"] = 7
    photos = mask_checks.measure_masks(records)
    assert photos["img"][photos["outlier"]].tolist() == records["img"][[5, 40]].tolist()
    suspects = mask_checks.rank_suspects(photos, 5)
    assert dict(zip(suspects["img"], suspects["reason"], strict=True)) == {
        records["img"][5]: "empty",
        records["img"][40]: "size unlike the car's other views",
        records["img"][77]: "a second component",
        records["img"][120]: "several components",
        records["img"][100]: "the folds disagree",
    }
    cells = {row[0]: row[1:] for row in mask_checks.table(photos)}
    assert cells["empty masks"][0] == "1"
    assert cells["empty masks"][-1] == records["img"][5]


def test_the_list_holds_50_different_photos(records: pd.DataFrame, tmp_path: Path) -> None:
    mask_checks.write_suspects(mask_checks.measure_masks(records), tmp_path / "checks.csv")
    suspects = pd.read_csv(tmp_path / "checks.csv")
    assert len(suspects) == suspects["img"].nunique() == mask_checks.MAX_SUSPECTS
    assert suspects.columns.tolist() == [
        "img",
        "reason",
        "area",
        "share",
        "area_residual",
        "n_components",
        "second_area",
        "disagreement",
    ]


def test_a_single_photo_with_an_empty_mask(records: pd.DataFrame) -> None:
    photos = mask_checks.measure_masks(records[:1].assign(area=0))
    assert mask_checks.rank_suspects(photos)["reason"].tolist() == ["empty"]
