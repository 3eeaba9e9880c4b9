"""What training and prediction on Kaggle's machines have in common: the recipe, and a key of all inputs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from carvana.errors import UserError
from carvana.files import sha256_of_text
from carvana.kaggle.push import Attachments
from carvana.recipe import Encoder, Recipe


@dataclass(frozen=True)
class RecipeArgument:
    """A recipe as the command line names it."""

    recipe: Recipe
    argument: str
    """Name of the recipe, or path of its file."""
    changes: tuple[str, ...]
    """Changes of the recipe, as `key=value`."""

    @property
    def in_bundle(self) -> str:
        """The argument within a bundle, which holds the recipe's file."""
        return f"recipes/{Path(self.argument).name}" if self.argument.endswith(".toml") else self.argument

    def files(self) -> dict[str, bytes]:
        """Return the recipe's file for the bundle, if it is not among the project's."""
        return {self.in_bundle: Path(self.argument).read_bytes()} if self.in_bundle != self.argument else {}


def key_of(*parts: object) -> str:
    """Return the SHA-256 of everything that decides a result: recipes and JSON values."""
    return sha256_of_text(json.dumps([_as_json(part) for part in parts], sort_keys=True))


def attachments_of(recipe: Recipe, attach: Sequence[str], *, offline: bool) -> Attachments:
    """Return the datasets to attach, and the dataset or model that holds the weights of the recipe's encoder.

    Args:
        recipe: the recipe to train.
        attach: further datasets.
        offline: whether the notebook has no internet.

    Raises:
        UserError: the weights are not on Kaggle.
    """
    datasets, models = list(attach), []
    if isinstance(recipe.model, Encoder):
        if recipe.model.weights == "imagenet" and offline:
            raise UserError(
                '--offline: weights = "imagenet" are downloaded; attach a dataset that holds the file, and name it'
                ' by weights = "/kaggle/input/datasets/OWNER/NAME/FILE.h5" and sha256'
            )
        match PurePosixPath(recipe.model.weights).parts:
            case ("/", "kaggle", "input", "datasets", owner, name, *_):
                datasets.append(f"{owner}/{name}")
            case ("/", "kaggle", "input", "models", *model, _) if len(model) >= 5:
                models.append("/".join(model[:5]))
            case (name,) if name in ("imagenet", "none"):
                pass
            case _:
                raise UserError(
                    f"model.weights {recipe.model.weights}: is not on Kaggle; upload it as a dataset, and name it"
                    " /kaggle/input/datasets/OWNER/NAME/FILE.h5"
                )
    return Attachments(datasets=list(dict.fromkeys(datasets)), models=models)


def in_runs(path: Path) -> str:
    """Return the path `RECIPE/fold-K/NAME` of a run's file."""
    return "/".join(path.parts[-3:])


def _as_json(part: object) -> object:
    return part.model_dump(mode="json") | {"name": part.name} if isinstance(part, Recipe) else part
