"""The model card of weights: data, training, out-of-fold Dice by fold and angle, limits and intended use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from carvana.competition.names import car_and_angle
from carvana.evaluation.errors import REFINED, read_errors, summary
from carvana.evaluation.scores import mean_with_ci
from carvana.files import atomic_path
from carvana.runs import RunDir
from carvana.templates import load_template
from carvana.weights import read_description

_TEMPLATE = Path(__file__).parent / "template" / "model-card.md"
_CONTENTS = {
    "model.keras": "the first network, which predicts the whole photo",
    "refiner.keras": "the refinement network, which predicts patches along the contour",
    "recipe.toml": "the recipe with all keys",
    "metadata.json": "fold table, fingerprint of photos and masks, libraries and precision",
    "training.json": "photos, minutes, machine and commit of the training",
}
_LOW_DICE = 0.99
_LOWEST_ANGLES = 4


def write_model_card(weights: RunDir, folds: Sequence[RunDir]) -> Path:
    """Write `README.md` beside weights, and return its path.

    Args:
        weights: the folder of the weights.
        folds: the finished runs of the recipe's folds.

    Raises:
        UserError: a file of the weights or of a run is missing or malformed.
    """
    description, recipe = read_description(weights.folder), weights.read_recipe()
    training, scores = weights.read_training_record(), pd.concat([run.read_scores() for run in folds])
    dice, angles = mean_with_ci(scores), dice_by_angle(scores)
    epochs = [f"{stage.epochs} at {stage.size[1]}x{stage.size[0]}" for stage in recipe.stages]
    if recipe.refine:
        epochs.append(f"{recipe.refine.epochs} of the refinement network")
    text = load_template(_TEMPLATE, keep_trailing_newline=True).render(
        name=description.recipe,
        networks=f"{sum(path.stat().st_size for path in weights.networks) / 1e6:.1f} MB in float16",
        training=training,
        training_cars_of_folds=_training_cars(scores, folds),
        metadata=weights.read_metadata(),
        epochs=", ".join(epochs),
        folds=description.out_of_fold,
        photos=dice.photos,
        dice=dice.dice_text(),
        interval=dice.interval_text(),
        by_angle=list(angles.itertuples()),
        lowest=scores["dice"].min(),
        below=_LOW_DICE,
        n_below=(scores["dice"] < _LOW_DICE).sum(),
        lowest_angles=_listed(sorted(angles.nsmallest(_LOWEST_ANGLES, "mean")["angle"])),
        files=[(name, _CONTENTS[name], _size(weights.folder / name)) for name in sorted(description.sha256)],
        **_distances(folds),
    )
    path = weights.folder / "README.md"
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def dice_by_angle(scores: pd.DataFrame) -> pd.DataFrame:
    """Summarize out-of-fold scores by the angle of the turntable.

    Args:
        scores: columns img and dice.

    Returns:
        One row per angle, ascending, with the columns angle, mean, low (5% of the photos have a lower Dice), lowest
        and photos.
    """
    angle = scores["img"].map(lambda img: car_and_angle(img)[1]).rename("angle")
    by_angle = scores["dice"].groupby(angle)
    columns = {
        "mean": by_angle.mean(),
        "low": by_angle.quantile(0.05),
        "lowest": by_angle.min(),
        "photos": by_angle.size(),
    }
    return pd.DataFrame(columns).reset_index()


def _training_cars(scores: pd.DataFrame, folds: Sequence[RunDir]) -> str:
    """Return the number of cars that the folds were trained on, e.g. `88 to 92`."""
    cars = scores["img"].map(lambda img: car_and_angle(img)[0]).nunique()
    counts = [
        cars - run.read_scores()["img"].map(lambda img: car_and_angle(img)[0]).nunique() for run in folds
    ]
    return f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(counts[0])


def _distances(folds: Sequence[RunDir]) -> dict[str, Any]:
    """Return the shares of wrong pixels near the contour and far from it; None where the runs have no such table."""
    if not all(run.errors.is_file() for run in folds):
        return {"near": None, "far": None}
    table = summary(pd.concat([read_errors(run.errors) for run in folds]))
    row = table.loc[REFINED] if REFINED in table.index else table.iloc[-1]
    return {"near": f"{row['within_2']:.0%}", "far": f"{row['within_32'] + row['beyond_32']:.0%}"}


def _listed(numbers: Sequence[int]) -> str:
    """Return numbers as text: `1, 5 and 9`."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
