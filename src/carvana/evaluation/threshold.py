"""Search of the threshold with the best out-of-fold Dice, and an honest estimate of what it gains.

Each out-of-fold photo is predicted as test photos are, and its mask is made and scored at each threshold of a grid.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from carvana import console
from carvana.arrays import read_cached_arrays
from carvana.competition import rle
from carvana.competition.dice import dice_from_edges
from carvana.competition.names import car_id, check_listed_once
from carvana.data.dataset import Sample, content_digest
from carvana.data.timing import PipelineTimer
from carvana.errors import UserError
from carvana.evaluation.scores import ScoreSummary, difference_cells, mean_with_ci, paired_difference
from carvana.files import atomic_path, sha256_of_text
from carvana.inference.config import DEFAULT_THRESHOLD, EnsembleMember, PredictionConfig
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import WeightedEnsemble
from carvana.runs import RunDir

THRESHOLDS = np.arange(2, 100, 2) / 100
"""The grid: 0.02, 0.04, ..., 0.98; `DEFAULT_THRESHOLD` is in it."""

_DEFAULT = int(np.flatnonzero(THRESHOLDS == DEFAULT_THRESHOLD)[0])

_CAR_GROUPS = 5
"""Groups of cars for the estimate of the gain: the threshold of each group is chosen on the others."""


@dataclass(frozen=True)
class ThresholdResult:
    """The chosen threshold and its gain."""

    threshold: float
    """The chosen threshold; 0.5 where no other gains."""
    best: float
    """The threshold with the best mean Dice."""
    gain: ScoreSummary
    """Gain in Dice of thresholds chosen on other cars over 0.5, with its 95% interval over cars."""
    scores: pd.DataFrame
    """Out-of-fold scores at `threshold`: columns img and dice, one row per photo."""


def tune_threshold(config: PredictionConfig, samples: Sequence[Sample]) -> ThresholdResult:
    """Choose the threshold with the best mean Dice on out-of-fold photos.

    The gain over 0.5 is estimated by cross-fitting: the cars are split into five groups, and each group is scored at
    the threshold that is best on the other four. If the interval of the gain contains 0, the threshold is 0.5.

    Args:
        config: the prediction; all its members are networks trained on the same split. Its threshold is ignored.
        samples: the labelled photos.

    Raises:
        UserError: a member is a folder of saved maps, the members were trained on different splits, or a held-out
            photo is missing from `samples`.
    """
    names, dice = out_of_fold_dice(config, samples)
    return choose_threshold(names, dice)


def choose_threshold(names: Sequence[str], dice: np.ndarray) -> ThresholdResult:
    """Choose a threshold by the Dice (photos, thresholds) of each photo at each of `THRESHOLDS`."""
    groups = pd.factorize(np.array([car_id(name) for name in names]))[0] % _CAR_GROUPS
    chosen = np.full(len(names), _DEFAULT)
    for group in np.unique(groups):
        others = dice[groups != group]
        chosen[groups == group] = int(others.mean(axis=0).argmax()) if len(others) else _DEFAULT
    cross_fitted = dice[np.arange(len(names)), chosen]
    gain = paired_difference(_scores(names, cross_fitted), _scores(names, dice[:, _DEFAULT]))
    best = int(dice.mean(axis=0).argmax())
    index = best if gain.low > 0 else _DEFAULT
    return ThresholdResult(
        float(THRESHOLDS[index]), float(THRESHOLDS[best]), gain, _scores(names, dice[:, index])
    )


def print_result(result: ThresholdResult) -> None:
    """Print the chosen threshold and its gain as a table."""
    row = [
        f"{result.best:.2f}",
        *difference_cells(result.gain),
        f"{result.threshold:.2f}",
        *mean_with_ci(result.scores).cells(),
    ]
    columns = ["best", "gain over 0.5", "95% interval", "chosen", "Dice", "95% interval", "photos"]
    console.show_table("Threshold, out of fold", columns, [row], left=0)


def dice_at_thresholds(prediction: Prediction, true_edges: np.ndarray) -> np.ndarray:
    """Return the Dice of a prediction's mask at each of `THRESHOLDS`, given the true mask's run edges."""
    return np.array(
        [dice_from_edges(prediction.edges(threshold), true_edges) for threshold in THRESHOLDS.tolist()]
    )


def out_of_fold_dice(config: PredictionConfig, samples: Sequence[Sample]) -> tuple[list[str], np.ndarray]:
    """Score each held-out photo with the networks that did not train on it.

    The result is cached in each run's folder, because it takes as long as a prediction.

    Returns:
        The photos' names, and their Dice (photos, thresholds) at each of `THRESHOLDS`.

    Raises:
        UserError: as `tune_threshold`.
    """
    _check_members(config)
    by_name = {sample.name: sample for sample in samples}
    runs = config.members[0].runs
    held_out = [_held_out(run, by_name) for run in runs]  # all tables are read before any photo is predicted
    dice = []
    for index, (run, of_run) in enumerate(zip(runs, held_out, strict=True)):
        members = tuple(replace(member, runs=(member.runs[index],)) for member in config.members)
        dice.append(
            _cached_dice(PredictionConfig(members, DEFAULT_THRESHOLD, engine=config.engine), run, of_run)
        )
    return [sample.name for of_run in held_out for sample in of_run], np.concatenate(dice)


def _held_out(run: RunDir, by_name: Mapping[str, Sample]) -> list[Sample]:
    """Return the photos that a run held out, from the labelled photos by their names."""
    names = run.read_scores()["img"].tolist()
    check_listed_once(names, run.scores)
    missing = [name for name in names if name not in by_name]
    if missing:
        raise UserError(
            f"{run.folder}: held out {missing[0]}, which is not in the data; give --threshold a number"
        )
    return [by_name[name] for name in names]


def _check_members(config: PredictionConfig) -> None:
    """Raise UserError if the members have no common out-of-fold photos."""
    for member in config.members:
        if not member.runs:
            raise UserError(
                f"{member.name}: saved maps of test photos have no out-of-fold photos; give --threshold a number"
            )
        if not all(run.holds_out for run in member.runs):
            raise UserError(
                f"{member.name}: was trained on all photos and has no held-out ones; give --threshold a number"
            )
    if len({_split(member) for member in config.members}) > 1:
        names = ", ".join(member.name for member in config.members)
        raise UserError(
            f"{names}: were trained on different splits and share no held-out photos; give --threshold a number"
        )


def _split(member: EnsembleMember) -> tuple:
    return member.runs[0].read_metadata().split, *(run.fold for run in member.runs)


def _cached_dice(config: PredictionConfig, run: RunDir, samples: Sequence[Sample]) -> np.ndarray:
    """Return the Dice (photos, thresholds) of a fold's held-out photos, from the cache if it is there."""
    content = content_digest(path for sample in samples for path in (sample.path, sample.mask) if path)
    key = sha256_of_text(json.dumps([config.fingerprint(), content, THRESHOLDS.tolist()]))[:12]
    path = run.folder / f"curves-{key}.npz"
    cached = read_cached_arrays(path, ["dice"])
    if cached is not None and cached[0].shape == (len(samples), len(THRESHOLDS)):
        return cached[0]
    dice = _score(config, samples, f"out of fold, fold {run.fold}, tta {config.tta}")
    with atomic_path(path) as part:
        np.savez_compressed(part, dice=dice)
    return dice


def _score(config: PredictionConfig, samples: Sequence[Sample], title: str) -> np.ndarray:
    def score(prediction: Prediction) -> np.ndarray:
        return dice_at_thresholds(prediction, rle.mask_to_edges(prediction.sample.read_mask()))

    timer, dice = PipelineTimer(), []
    with console.progress(title, len(samples), "photos") as advance:
        for of_photo in predict_stream(WeightedEnsemble.load(config), samples, score, timer=timer):
            dice.append(of_photo)
            advance(1, timer.bottleneck())
    return np.stack(dice)


def _scores(names: Sequence[str], dice: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"img": names, "dice": dice.astype(float)})
