"""The config that photos are asked: which networks or maps, how, and what is kept of the answers.

Importing this imports no Keras.
"""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.recipe import Recipe, is_known, read_recipe
from carvana.runs import RunDir, finished_runs

if TYPE_CHECKING:
    from carvana.inference.predictors import Predictor, WeightedEnsemble


@dataclass(frozen=True)
class EnsembleMember:
    """A recipe's networks, asked as the recipe says, or maps that were kept."""

    name: str
    """The recipe's, or the folder's."""
    weight: float
    recipe: Recipe | None = None
    runs: tuple[RunDir, ...] = ()
    """A fold each."""
    maps: Path | None = None
    """The folder of kept maps, in place of recipe and runs."""

    def fingerprint(self) -> dict:
        """All that decides the part's maps, as JSON takes it."""
        if self.maps is not None:
            kept = sorted((path.name, path.stat().st_mtime_ns) for path in self.maps.glob("*.png"))
            return {"weight": self.weight, "maps": hashlib.sha256(repr(kept).encode()).hexdigest()}
        weights = [sha256_of_file(run.model) for run in self.runs]
        return {"weight": self.weight, "recipe": self.recipe.model_dump(mode="json"), "weights": weights}


@dataclass(frozen=True)
class PredictionConfig:
    """What photos are asked. It goes from process to process."""

    members: tuple[EnsembleMember, ...]
    threshold: float = 0.0
    """Car is where the probability is above; by default the first recipe's."""
    per_fold: bool = False
    """Also keep each network's own mask; of a single part alone."""
    maps_dir: Path | None = None
    """The folder that maps are kept in."""

    def __post_init__(self) -> None:
        """Take the threshold from the parts, where none is given."""
        if not self.threshold:
            own = [part.recipe.threshold for part in self.members if part.recipe]
            object.__setattr__(self, "threshold", own[0] if own else 0.5)

    @property
    def name(self) -> str:
        """The recipe's name, or the parts with their weights: `a=0.6,b=0.4`."""
        if len(self.members) == 1:
            return self.members[0].name
        return ",".join(f"{part.name}={part.weight:g}" for part in self.members)

    @property
    def tta(self) -> str:
        """Of all parts, where they agree; else each one's."""
        words = [part.recipe.tta if part.recipe else "kept" for part in self.members]
        return words[0] if len(set(words)) == 1 else "+".join(words)

    def load(self) -> "WeightedEnsemble":
        """Load the networks. This imports Keras, which takes seconds."""
        from carvana.inference.predictors import FoldEnsemble, SavedMaps, WeightedEnsemble

        sources: list[Predictor] = [
            SavedMaps(part.maps)
            if part.maps
            else FoldEnsemble.load(part.runs, part.recipe, per_fold=self.per_fold)
            for part in self.members
        ]
        total = sum(part.weight for part in self.members)
        return WeightedEnsemble(tuple(sources), tuple(part.weight / total for part in self.members))

    def fingerprint(self) -> dict:
        """All that decides the answers, as JSON takes it; keras is the library's version."""
        return {
            "parts": [part.fingerprint() for part in self.members],
            "threshold": self.threshold,
            "each": self.per_fold,
            "keep": self.maps_dir and self.maps_dir.name,
            "keras": version("keras"),
        }


def resolve_member(
    name: str, weight: float, runs: Path, changes: list[str], fold: int | None
) -> EnsembleMember:
    """A part by its name: a recipe of which there are runs, or a folder of kept maps.

    Args:
        name: of a recipe, a recipe's file, or a folder.
        weight: in a blend.
        runs: where training wrote `RECIPE/fold-K`.
        changes: `key=value`, as training took them, and how the networks are asked.
        fold: the one to take, or None for all.

    Raises:
        UserError: there is no such recipe, or it is not trained.
    """
    if Path(name).is_dir() and not is_known(name):
        return EnsembleMember(Path(name).name, weight, maps=Path(name))
    recipe = read_recipe(name, changes)
    return EnsembleMember(recipe.name, weight, recipe, tuple(finished_runs(runs, recipe, fold)))


def parse_blend(blend: str) -> dict[str, float]:
    """Read `a=0.6,b=0.4` as names and weights.

    Raises:
        UserError: it is not of that form, or a weight is not above 0.
    """
    weights = {}
    for piece in blend.split(","):
        name, _, number = piece.strip().rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise UserError(f"--blend {blend}: expected NAME=WEIGHT,NAME=WEIGHT, not {piece!r}") from None
        if not name or not 0 < weights[name] < float("inf"):
            raise UserError(f"--blend {blend}: {piece!r} needs a name, and a weight above 0")
    if len(weights) != blend.count(",") + 1:
        raise UserError(f"--blend {blend}: names a part twice")
    return weights
