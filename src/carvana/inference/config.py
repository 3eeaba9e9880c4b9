"""Configuration of a prediction: which networks or saved maps, their weights, the threshold and the outputs.

This module does not import Keras.
"""

import os
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from carvana.data.dataset import content_digest
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.recipe import Recipe, is_recipe_name, read_recipe
from carvana.runs import RunDir, finished_runs, training_commands
from carvana.weights import find_weights, is_weights_name, weights_name

DEFAULT_THRESHOLD = 0.5
"""Threshold of saved maps, which have no recipe."""

_MIN_WEIGHT, _MAX_WEIGHT = 1e-6, 1e6
"""Weights of an ensemble's members whose normalised values are exact enough."""


EnginePrecision = Literal["float32", "bfloat16", "int8"]
"""Precision in which OpenVINO computes."""


@dataclass(frozen=True)
class EngineConfig:
    """The library that computes the networks, and its precision."""

    library: Literal["keras", "openvino"] = "keras"
    precision: EnginePrecision | None = None
    """Precision of OpenVINO; None for Keras, which computes in the precision that a network was trained in."""

    @property
    def name(self) -> str:
        """Name for people, for the ledger and for file names, e.g. `openvino-bfloat16`."""
        return f"{self.library}-{self.precision}" if self.precision else self.library

    def fingerprint(self) -> dict[str, str]:
        """Return everything that the results depend on, as JSON values; the version of Keras is the member's."""
        if self.library == "keras":
            return {"name": self.name}
        return {"name": self.name, "version": version(self.library)}


KERAS = EngineConfig()


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

    def fingerprint(self) -> dict[str, Any]:
        """Return everything that the member's maps depend on, as JSON values; times of files are not among them."""
        if self.recipe is None:
            assert self.maps is not None
            return {"weight": self.weight, "maps": content_digest(sorted(self.maps.glob("[!.]*.png")))}
        networks = [path for run in self.runs for path in run.networks]
        return {
            "weight": self.weight,
            "recipe": self.recipe.model_dump(mode="json"),
            "networks": {f"{path.parent.name}/{path.name}": sha256_of_file(path) for path in networks},
            "libraries": _library_versions(),
        }


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
    engine: EngineConfig = KERAS
    """Engine of all networks."""

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

    def fingerprint(self) -> dict[str, Any]:
        """Return everything but the photos that the masks depend on, as JSON values.

        Shards, submissions, cut-outs and the threshold's curves are kept only where this, and the `content_digest`
        of the photos, are equal.
        """
        return {
            "members": [member.fingerprint() for member in self.members],
            "threshold": self.effective_threshold,
            "per_fold": self.per_fold,
            "engine": self.engine.fingerprint() | self._quantized_networks(),
        }

    def _quantized_networks(self) -> dict[str, str]:
        """Return the SHA-256 of each quantised network, if the engine computes these."""
        if self.engine.precision != "int8":
            return {}
        runs = [run for member in self.members for run in member.runs]
        files = [quantized_file(path).with_suffix(".bin") for run in runs for path in run.networks]
        existing = [path for path in files if path.is_file()]
        return {f"{path.parent.parent.name}/{path.parent.name}": sha256_of_file(path) for path in existing}


def quantized_file(network: Path) -> Path:
    """Return the file of the INT8 form of a Keras network. It is in a folder beside the network's file.

    The folder's name holds a digest of the network, so that the form of another network is never used.
    """
    return network.with_name(f"{network.stem}-int8-{sha256_of_file(network)[:12]}") / "network.xml"


def resolve_member(
    name: str,
    weight: float,
    runs: Path,
    changes: list[str],
    fold: int | None,
    *,
    data: Path | None = None,
    on_kaggle: bool = False,
) -> EnsembleMember:
    """Find an ensemble member by its name: a recipe that was trained, or a folder of saved maps.

    Args:
        name: a recipe's name, a recipe's file, or a folder.
        weight: the member's weight in the ensemble.
        runs: the folder in which training wrote `RECIPE/fold-K`.
        changes: `key=value` changes of the recipe, as given to training, and of `tta`.
        fold: the fold to use, or None for all.
        data: the data folder, for the message if the recipe is not trained.
        on_kaggle: as `data`: whether the recipe is trained on Kaggle's machines.

    Raises:
        UserError: there is no such recipe, or it is not trained.
    """
    if os.path.isdir(name) and not is_recipe_name(name):
        return EnsembleMember(os.path.basename(os.path.abspath(name)), weight, maps=Path(name))
    recipe = read_recipe(name, changes)
    advice = partial(training_commands, name, runs, data, changes, fold, on_kaggle=on_kaggle)
    return EnsembleMember(recipe.name, weight, recipe, tuple(finished_runs(runs, recipe, fold, advice)))


def weights_member(name: str, changes: list[str], *, or_recipe: bool = False) -> EnsembleMember:
    """Find weights as the only member of an ensemble.

    Args:
        name: as in `find_weights`.
        changes: `key=value` changes of the recipe that affect prediction only, e.g. `tta=none`.
        or_recipe: as in `find_weights`.

    Raises:
        UserError: there are no such weights, a file of them is damaged, or a change affects the networks.
    """
    run = find_weights(name, or_recipe=or_recipe)
    recipe = read_recipe(str(run.recipe), changes).model_copy(update={"name": weights_name(run)})
    run.check_recipe(recipe)
    return EnsembleMember(recipe.name, 1.0, recipe, (run,))


def find_member(name: str, runs: Path) -> EnsembleMember:
    """Find weights by their name or folder, or a trained recipe by its name or file, in this order.

    Raises:
        UserError: there is neither.
    """
    if is_weights_name(name) or not (is_recipe_name(name) or name.endswith(".toml")):
        return weights_member(name, [], or_recipe=True)
    return resolve_member(name, 1.0, runs, [], None)


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


def _library_versions() -> dict[str, str]:
    """Return the versions of Keras and of its backend."""
    # Imported late: it takes seconds, and what is predicted from saved maps does not depend on it.
    from carvana.backend import keras

    backend = keras.backend.backend()
    return {"keras": version("keras"), backend: import_module(backend).__version__}
