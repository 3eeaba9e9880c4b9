"""The search of the threshold on out-of-fold photos."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.prediction_helpers import Red, mask_of

from carvana.competition import rle
from carvana.competition.dice import dice
from carvana.competition.names import photo_name
from carvana.data.dataset import Sample, train_samples
from carvana.errors import UserError
from carvana.evaluation.threshold import (
    THRESHOLDS,
    ThresholdResult,
    choose_threshold,
    dice_at_thresholds,
    out_of_fold_dice,
    tune_threshold,
)
from carvana.files import write_json
from carvana.inference.config import EnsembleMember, PredictionConfig
from carvana.inference.pipeline import Prediction
from carvana.inference.predictors import WeightedEnsemble
from carvana.recipe import read_recipe
from carvana.runs import RunDir
from carvana.tables import write_csv


def _prediction(probabilities: np.ndarray, size: tuple[int, int]) -> Prediction:
    return Prediction(Sample(Path("00000000000a_01.jpg")), size, probabilities[None], 0.0)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(6, 9), (13, 20)]), st.floats(0, 1))
def test_scores_are_the_dice_of_each_mask(seed: int, shape: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.random(shape, np.float32)
    truth = random.random((13, 20)) < share
    scores = dice_at_thresholds(_prediction(probabilities, (13, 20)), rle.mask_to_edges(truth))
    expected = [dice(mask_of(probabilities, (13, 20), threshold), truth) for threshold in THRESHOLDS]
    assert scores.tolist() == expected


def test_empty_masks_score_one() -> None:
    scores = dice_at_thresholds(_prediction(np.zeros((4, 4), np.float32), (4, 4)), np.array([], np.int64))
    assert scores.tolist() == [1.0] * len(THRESHOLDS)


def test_one_half_is_in_the_grid() -> None:
    assert 0.5 in THRESHOLDS.tolist()
    assert (np.diff(THRESHOLDS) > 0).all()
    assert 0 < THRESHOLDS[0] < THRESHOLDS[-1] < 1


def _chosen(peak: float, noise: float) -> ThresholdResult:
    """Choose a threshold for 20 cars whose Dice is highest near `peak`."""
    random = np.random.default_rng(1)
    names = [photo_name(f"{car:012x}", angle) for car in range(20) for angle in (1, 2)]
    dice = 0.99 - 0.05 * (THRESHOLDS - peak - random.normal(0, noise, (40, 1))) ** 2
    return choose_threshold(names, dice)


def test_a_threshold_that_gains_is_chosen() -> None:
    result = _chosen(peak=0.4, noise=0.02)
    assert result.threshold == result.best == pytest.approx(0.4, abs=0.01)
    assert 0 < result.gain.low < result.gain.dice < result.gain.high
    assert result.gain.dice == pytest.approx(0.05 * 0.1**2, rel=0.2)


def test_one_half_stays_if_nothing_is_gained() -> None:
    result = _chosen(peak=0.5, noise=0.2)
    assert result.threshold == 0.5
    assert result.gain.low <= 0
    assert result.scores["dice"].mean() < 0.99


def test_saved_maps_have_no_out_of_fold_photos(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --threshold a number"):
        tune_threshold(PredictionConfig((EnsembleMember("kept", 1, maps=tmp_path),)), [])


@dataclass
class Search:
    """The search on two folds of three photos each, and how often networks were loaded for it."""

    data: Path
    runs: list[RunDir]
    loaded: int = 0

    def dice(self) -> np.ndarray:
        recipe = read_recipe("miniature")
        member = EnsembleMember("miniature", 1, recipe, tuple(self.runs))
        return out_of_fold_dice(PredictionConfig((member,)), train_samples(self.data)[:6])[1]

    def loads(self) -> int:
        """Score again; return for how many folds networks were loaded."""
        before = self.loaded
        self.dice()
        return self.loaded - before


@pytest.fixture
def search(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    photos = train_samples(data)
    search = Search(data, [RunDir(tmp_path / "runs" / "miniature" / f"fold-{fold}") for fold in (0, 1)])
    for fold, run in enumerate(search.runs):
        run.folder.mkdir(parents=True)
        run.model.write_bytes(b"network %d" % fold)
        metadata = {"table": "two", "folds": [0, 1], "split": "x", "backend": "tensorflow", "keras": "3"}
        write_json(metadata, run.metadata)
        scores = pd.DataFrame({"img": [photo.name for photo in photos[3 * fold : 3 * fold + 3]], "dice": 0.5})
        write_csv(scores, run.scores)

    def load(config: PredictionConfig) -> WeightedEnsemble:
        search.loaded += 1
        return WeightedEnsemble((Red(),))

    monkeypatch.setattr(WeightedEnsemble, "load", load)
    return search


def _flip_last_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


CHANGES: dict[str, tuple[Callable[[Search], object], int]] = {
    "file times": (lambda search: os.utime(search.runs[0].model, (0, 0)), 0),
    "a network": (lambda search: search.runs[0].model.write_bytes(b"network 7"), 1),
    "a photo": (lambda search: _flip_last_bits(train_samples(search.data)[4].path), 1),
    "a mask": (lambda search: shutil.copy(*[train_samples(search.data)[index].mask for index in (7, 4)]), 1),
    "a photo of no fold": (lambda search: _flip_last_bits(train_samples(search.data)[7].path), 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_curves_of_a_fold_are_kept_by_content(search: Search, change: str) -> None:
    assert search.loads() == 2
    assert search.loads() == 0
    apply, loads = CHANGES[change]
    apply(search)
    assert search.loads() == loads


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", None])
def test_damaged_curves_are_computed_again(search: Search, content: bytes | None) -> None:
    expected = search.dice()
    (curves,) = search.runs[0].folder.glob("curves-*.npz")
    whole = curves.read_bytes()
    curves.write_bytes(whole[:-30] if content is None else content)
    assert search.loads() == 1
    assert np.array_equal(search.dice(), expected)
    np.savez(curves, dice=np.zeros((2, 3)))  # of another number of photos
    assert search.loads() == 1


def test_every_table_is_read_before_any_fold_is_scored(search: Search) -> None:
    search.runs[1].scores.write_text("img,dice\n00000000000a_01.jpg,many\n")
    with pytest.raises(UserError, match="dice is 'many'"):
        search.dice()
    names = [train_samples(search.data)[0].name] * 2
    write_csv(pd.DataFrame({"img": names, "dice": 0.5}), search.runs[1].scores)
    with pytest.raises(UserError, match="more than once"):
        search.dice()
    assert search.loaded == 0
