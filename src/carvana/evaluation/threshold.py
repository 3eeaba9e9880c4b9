"""The threshold that out-of-fold maps ask for, and what it gains.

Every threshold that a byte can name is tried at once: a histogram of the upsampled map's levels, one over all pixels
and one over the car's, says how many pixels lie above each.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pandas as pd

from carvana import console
from carvana.competition.names import car_id
from carvana.data import images
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.evaluation.scores import ScoreSummary, mean_with_ci, paired_difference
from carvana.files import atomic_path
from carvana.inference.config import EnsembleMember, PredictionConfig
from carvana.runs import RunDir

LEVELS = 256
"""Thresholds are 1/256, 2/256, ... 255/256."""

DEFAULT = 0.5


@dataclass(frozen=True)
class ThresholdResult:
    """A threshold and what it is worth."""

    threshold: float
    """0.5 where no other gains."""
    best: float
    """The one with the best mean Dice."""
    gain: ScoreSummary
    """Of a threshold that was chosen on the other cars, against 0.5; with its 95% interval over cars."""
    scores: pd.DataFrame
    """Columns img and dice: out of fold, at `threshold`."""


def tune_threshold(config: PredictionConfig, photos: Sequence[Sample]) -> ThresholdResult:
    """Choose the threshold with the best mean Dice of out-of-fold photos.

    Its gain is measured on cars that had no say in it: five times, a fifth of the cars is held out, the threshold
    chosen on the others. Where the gain's interval holds 0, nothing was gained, and the threshold is 0.5.

    Args:
        config: whose threshold is asked for; of networks alone, trained on the same split.
        photos: the labelled ones.

    Raises:
        UserError: a part has no networks, or they were trained on another split; a held-out photo is not there.
    """
    names, dice = _out_of_fold(config, {photo.name: photo for photo in photos})
    thresholds = np.arange(1, LEVELS) / LEVELS
    middle = int(np.argmin(np.abs(thresholds - DEFAULT)))
    cars = np.array([car_id(name) for name in names])
    fifth = pd.factorize(cars)[0] % 5
    chosen = np.full(len(names), middle)
    for number in np.unique(fifth):
        others = dice[fifth != number]
        chosen[fifth == number] = int(others.mean(axis=0).argmax()) if len(others) else middle
    gain = paired_difference(
        _scores(names, dice[np.arange(len(names)), chosen]), _scores(names, dice[:, middle])
    )
    best = int(dice.mean(axis=0).argmax())
    kept = best if gain.low > 0 else middle
    return ThresholdResult(
        float(thresholds[kept]), float(thresholds[best]), gain, _scores(names, dice[:, kept])
    )


def show(choice: ThresholdResult) -> None:
    """Print what was chosen, and why."""
    rows = [
        [
            f"{choice.best:.4f}",
            f"{choice.gain.dice:+.6f}",
            f"{choice.gain.low:+.6f} .. {choice.gain.high:+.6f}",
        ]
    ]
    rows[0] += [f"{choice.threshold:.4f}", *mean_with_ci(choice.scores).cells()]
    console.show_table(
        "Threshold, out of fold",
        ["best", "gain over 0.5", "95% interval", "taken", "Dice", "95% interval", "photos"],
        rows,
        left=0,
    )


def dice_curve(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The Dice of a photo at every threshold.

    Args:
        probabilities: (h, w), float32, 0..1; upsampled to the truth's size.
        truth: the mask, bool (height, width).

    Returns:
        (255,), at 1/256, ... 255/256. A pixel is car from its threshold on.
    """
    if probabilities.shape != truth.shape:
        probabilities = cv2.resize(probabilities, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    levels = np.minimum(probabilities * LEVELS, LEVELS - 1).astype(np.uint8)
    found, shared = (
        np.cumsum(cv2.calcHist([levels], [0], mask, [LEVELS], [0, LEVELS]).ravel()[::-1].astype(np.int64))[
            ::-1
        ]
        for mask in (None, truth.view(np.uint8))
    )
    both = found[1:] + int(truth.sum())
    return np.where(both > 0, 2 * shared[1:] / np.maximum(both, 1), 1.0)


def _out_of_fold(config: PredictionConfig, photos: dict[str, Sample]) -> tuple[list[str], np.ndarray]:
    """The names of all held-out photos, and their Dice (photos, thresholds), asked of their own fold's networks."""
    _check(config)
    names, curves = [], []
    for number, run in enumerate(config.members[0].runs):
        parts = tuple(replace(part, runs=(part.runs[number],)) for part in config.members)
        of_fold = replace(config, members=parts, per_fold=False, maps_dir=None)
        held_out = run.read_scores()["img"].tolist()
        missing = [name for name in held_out if name not in photos]
        if missing:
            raise UserError(
                f"{run.folder}: held out {missing[0]}, which is not in the data; give --threshold"
            )
        names += held_out
        curves.append(_curves(of_fold, run, [photos[name] for name in held_out]))
    return names, np.concatenate(curves)


def _check(config: PredictionConfig) -> None:
    """Raise UserError where the parts cannot be asked out of fold."""
    for part in config.members:
        if not part.runs:
            raise UserError(
                f"{part.name}: kept maps of test photos know of no threshold; give --threshold a number"
            )
    splits = {_split(part) for part in config.members}
    if len(splits) > 1:
        names = ", ".join(part.name for part in config.members)
        raise UserError(f"{names}: were trained on different splits, so that no photo is held out of all")


def _split(part: EnsembleMember) -> tuple:
    return part.runs[0].read_metadata()["split"], *(run.fold for run in part.runs)


def _curves(config: PredictionConfig, run: RunDir, photos: Sequence[Sample]) -> np.ndarray:
    """The Dice (photos, thresholds) of a fold; kept in the run's folder, as it takes as long as a prediction."""
    asked = replace(config, threshold=DEFAULT).fingerprint()
    path = run.folder / f"curves-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]}.npz"
    if path.is_file():
        return np.load(path)["dice"]
    dice = _ask(config, photos, f"out of fold, fold {run.fold}, tta {config.tta}")
    with atomic_path(path) as part:
        np.savez_compressed(part, dice=dice)
    return dice


def _ask(config: PredictionConfig, photos: Sequence[Sample], title: str) -> np.ndarray:
    from carvana.data.timing import PipelineTimer
    from carvana.inference.pipeline import (  # late: TensorFlow takes seconds to import
        Prediction,
        predict_stream,
    )

    def curve(answer: Prediction) -> np.ndarray:
        return dice_curve(answer.maps[0], images.read_mask(answer.sample.sample.mask)).astype(np.float32)

    stages, dice = PipelineTimer(), []
    with console.progress(title, len(photos), "photos") as advance:
        for of_photo in predict_stream(config.load(), photos, curve, stages=stages):
            dice.append(of_photo)
            advance(1, stages.slowest())
    return np.stack(dice)


def _scores(names: list[str], dice: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"img": names, "dice": dice.astype(float)})
