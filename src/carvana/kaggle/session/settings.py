"""Settings of a notebook's session, which the bundle holds. Only the standard library is imported."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

SETTINGS_FILE = "settings.json"
"""Name of the file within the unpacked bundle."""


@dataclass(frozen=True)
class SessionSettings:
    """Everything that a session is to do."""

    step: Literal["train", "predict"]
    recipe: str
    """Name of the recipe."""
    recipe_argument: str
    """The recipe as the step's command takes it: its name, or the path of its file within the bundle."""
    folds: tuple[int, ...]
    """Folds to train, or folds whose networks predict."""
    fold_argument: str
    """The folds of the command line: `all`, or numbers separated by commas, of which a prediction has one."""
    key: str
    """SHA-256 of everything that decides the result, apart from the code."""
    hours: float
    """Limit of the session."""
    parts: tuple[str, ...]
    """Parts of the competition's data that the step reads, by their names in `carvana.data.zips.PARTS`."""
    changes: tuple[str, ...] = ()
    """Changes of the recipe, as `key=value`."""
    table: str = ""
    """Path of the fold table within the bundle; "" for a prediction."""
    arguments: tuple[str, ...] = ()
    """Further arguments of the step's command."""
    submission: str = ""
    """File name of the submission; "" for a training."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each network that predicts, by its path `RECIPE/fold-K/NAME.keras`."""
    encoder: bool = False
    """True if the network has an encoder of segmentation-models."""
    offline: bool = False
    """True if the session has no internet."""
    resumes: bool = False
    """True if an earlier version's output is attached, from which the session continues."""

    def to_json(self) -> str:
        """Return the settings as JSON; equal settings give the same text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "SessionSettings":
        """Read what `to_json` returned."""
        values = json.loads(text)
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values | lists)
