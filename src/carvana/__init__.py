"""Find the car in a photo, pixel by pixel."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carvana.inference.photo_predictor import PhotoPredictor

# Read by the libraries when they are imported: no start-up messages of TensorFlow, no check for updates.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def load(name: str | os.PathLike[str] = "fast", *, runs: str | os.PathLike[str] = "runs") -> "PhotoPredictor":
    """Load networks that find the car in photos.

    Args:
        name: one of
            - the name of weights that come with the code: `fast`;
            - the folder of a finished run, such as `runs/fast/fold-0` or `runs/fast/all`;
            - the name or file of a recipe whose folds are trained in `runs`, to predict with their mean. Weights that
              come with the code go before a recipe of the same name; its file, `src/recipes/fast.toml`, means the
              recipe.
        runs: the folder of trained runs, for a recipe.

    Returns:
        A predictor with the methods `probability`, `mask` and `cutout`.

    Raises:
        carvana.errors.UserError: there are no such networks, or a file of them is damaged.

    Example:
        >>> import carvana
        >>> carvana.load("fast").cutout("docs/car.jpg").size
        (960, 640)
    """
    # Imported late: these imports take seconds.
    from pathlib import Path

    from carvana.inference.config import PredictionConfig, find_member
    from carvana.inference.photo_predictor import PhotoPredictor

    return PhotoPredictor.from_config(PredictionConfig((find_member(os.fspath(name), Path(runs)),)))


__all__ = ["load"]
