"""Configuration of a prediction: which networks or saved maps, their weights, the threshold and the outputs.

This module does not import Keras.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from carvana.errors import UserError
from carvana.files import atomic_path, sha256_of_file, sha256_of_text
from carvana.recipe import Recipe, is_recipe_name, read_recipe
from carvana.runs import RunDir, finished_runs

DEFAULT_THRESHOLD = 0.5
"""Threshold of saved maps, which have no recipe."""

_MIN_WEIGHT, _MAX_WEIGHT = 1e-6, 1e6
"""Weights of an ensemble's members whose normalised values are exact enough."""


@dataclass(frozen=True)
class EnsembleMember:
    """A member of a weighted ensemble: the networks of a recipe, or a folder of saved maps."""

    name: str
    """Name of the recipe or of the folder."""
    weight: float
    """Weight before normalisation, above 0."""
    recipe: Recipe | None = None
    """The recipe; None for saved maps."""
    runs: tuple[RunDir, ...] = ()
    """Trained runs of the recipe, one per fold."""
    maps: Path | None = None
    """Folder of saved maps; None for a recipe."""

    @property
    def tta(self) -> str:
        """Test-time augmentation of the recipe, or "kept" for saved maps."""
        return self.recipe.tta if self.recipe else "kept"

    def fingerprint(self) -> dict:
        """Return everything that the member's maps depend on, as JSON values."""
        if self.recipe is None:
            assert self.maps is not None
            files = sorted((path.name, path.stat().st_mtime_ns) for path in self.maps.glob("*.png"))
            return {"weight": self.weight, "maps": sha256_of_text(repr(files))}
        weights = [sha256_of_file(path) for run in self.runs for path in run.networks]
        return {"weight": self.weight, "recipe": self.recipe.model_dump(mode="json"), "weights": weights}


@dataclass(frozen=True)
class PredictionConfig:
    """Configuration of a prediction; it can be pickled and sent to other processes."""

    members: tuple[EnsembleMember, ...]
    threshold: float | None = None
    """Threshold that replaces the recipe's, 0..1 exclusive; read `effective_threshold` to predict."""
    per_fold: bool = False
    """Also predict each network's own map; only with a single member."""
    maps_dir: Path | None = None
    """Folder that the mean maps are written to; None to write none."""

    @property
    def effective_threshold(self) -> float:
        """The threshold to predict with: pixels whose probability is above it are car."""
        if self.threshold is not None:
            return self.threshold
        of_recipes = [member.recipe.threshold for member in self.members if member.recipe]
        return of_recipes[0] if of_recipes else DEFAULT_THRESHOLD

    @property
    def name(self) -> str:
        """The recipe's name, or all members with their weights: `a=0.6,b=0.4`."""
        if len(self.members) == 1:
            return self.members[0].name
        return ",".join(f"{member.name}={member.weight:g}" for member in self.members)

    @property
    def tta(self) -> str:
        """The members' common test-time augmentation, or each one's: `flip+none`."""
        modes = [member.tta for member in self.members]
        return modes[0] if len(set(modes)) == 1 else "+".join(modes)

    def fingerprint(self) -> dict:
        """Return everything that the predictions depend on, as JSON values; `keras` is the library's version."""
        return {
            "members": [member.fingerprint() for member in self.members],
            "threshold": self.effective_threshold,
            "per_fold": self.per_fold,
            "maps_dir": self.maps_dir and self.maps_dir.name,
            "keras": version("keras"),
        }


def update_record(path: Path, config: PredictionConfig, discard: Callable[[], object] = lambda: None) -> None:
    """Record the configuration that the files of a folder are predicted with.

    Args:
        path: the record, a JSON file. It is left alone if it already holds this configuration.
        config: the configuration.
        discard: called before another configuration's record is replaced, to delete what it predicted.
    """
    text = json.dumps(config.fingerprint(), indent=2)
    if path.is_file() and path.read_text() == text:
        return
    discard()
    with atomic_path(path) as part:
        part.write_text(text)


def resolve_member(
    name: str, weight: float, runs: Path, changes: list[str], fold: int | None
) -> EnsembleMember:
    """Find an ensemble member by its name: a recipe that was trained, or a folder of saved maps.

    Args:
        name: a recipe's name, a recipe's file, or a folder.
        weight: the member's weight in the ensemble.
        runs: the folder in which training wrote `RECIPE/fold-K`.
        changes: `key=value` changes of the recipe, as given to training, and of `tta`.
        fold: the fold to use, or None for all.

    Raises:
        UserError: there is no such recipe, or it is not trained.
    """
    if os.path.isdir(name) and not is_recipe_name(name):
        return EnsembleMember(os.path.basename(os.path.abspath(name)), weight, maps=Path(name))
    recipe = read_recipe(name, changes)
    return EnsembleMember(recipe.name, weight, recipe, tuple(finished_runs(runs, recipe, fold)))


def parse_blend(blend: str) -> dict[str, float]:
    """Parse `a=0.6,b=0.4` into names and weights.

    Raises:
        UserError: the text has another form, a weight is not above 0, or a name is given twice.
    """
    weights = {}
    for entry in blend.split(","):
        name, _, number = entry.strip().rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise UserError(f"--blend {blend}: expected NAME=WEIGHT,NAME=WEIGHT, not {entry!r}") from None
        if not name or not _MIN_WEIGHT <= weights[name] <= _MAX_WEIGHT:
            raise UserError(
                f"--blend {blend}: {entry!r} needs a name and a weight above 0, at most 1,000,000"
            )
    if len(weights) != blend.count(",") + 1:
        raise UserError(f"--blend {blend}: names a member twice")
    return weights
