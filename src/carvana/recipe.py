"""A recipe: the network, its training, and how it predicts, in one validated TOML file."""

import os
import reprlib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from carvana.arguments import parse_integer
from carvana.errors import UserError
from carvana.toml import parse_toml, read_toml

RECIPES = Path(__file__).parent.parent / "recipes"

_UNET_ONLY = (
    "depth",
    "norm",
    "space_to_depth",
    "residual",
    "bottleneck",
    "upsampling",
    "input_skip",
    "padding",
    "dropout",
)
"""Keys without effect on networks of segmentation-models."""

Loss = Literal["bce", "bce_dice", "bce_log_dice"]

# The upper bounds are far beyond what trains in practice: they catch slips of the keyboard, and keep every product of
# two keys within the numbers that the libraries accept.
Side = Annotated[int, Field(gt=0, le=16_384)]
"""Height or width in pixels."""
Epochs = Annotated[int, Field(gt=0, le=100_000)]
BatchSize = Annotated[int, Field(gt=0, le=65_536)]
"""Samples per optimizer step."""
Filters = Annotated[int, Field(gt=0, le=4_096)]
"""Filters of the first level of a network."""
Depth = Annotated[int, Field(gt=0, le=12)]
"""Number of times that an encoder halves the resolution."""
LearningRate = Annotated[float, Field(gt=0, le=100)]
BorderWeight = Annotated[float, Field(ge=1, le=10_000)]
"""Weight in the loss of pixels near the car's contour."""

_MAX_SEED = 2**32 - 1
"""Largest seed that NumPy, and with it Keras, accepts."""
_MAX_STAGES = 100
_MAX_KEY_PARTS = 8
"""Parts of a key that `--set` changes, separated by dots."""

_UNKNOWN_KEY = "unknown_key"
"""Type of the validation error that names an unknown key; pydantic's own does not know the other keys."""


class _Table(BaseModel):
    """Base of the tables of a recipe: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        known = [name for name, field in cls.model_fields.items() if not field.exclude]
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                context = {"key": key, "nearest": get_close_matches(key, known, n=1), "known": known}
                raise PydanticCustomError(_UNKNOWN_KEY, "unknown key", context)
        return values


class Stage(_Table):
    """Training at one resolution; stages are trained in order (progressive resizing)."""

    size: tuple[Side, Side]
    """Height and width in pixels to which photos are resized."""
    epochs: Epochs
    batch_size: BatchSize
    """Photos per optimizer step."""
    accumulation_steps: BatchSize = 1
    """Micro-batches that a batch is split into where it does not fit the device; their gradients are averaged."""
    learning_rate: LearningRate
    """Learning rate at the start of the stage, before the schedule's factor."""

    @model_validator(mode="after")
    def _check_accumulation_steps(self) -> Self:
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"accumulation_steps {self.accumulation_steps} does not divide the batch_size of {self.batch_size}"
            )
        return self


class Augmentation(_Table):
    """Ranges of the random changes of photos; 0 disables a change."""

    flip: float = Field(0.0, ge=0, le=1)
    """Probability of a left-right flip."""
    shift: float = Field(0.0, ge=0, lt=1)
    """Largest shift, as a fraction of the side."""
    scale: float = Field(0.0, ge=0, lt=1)
    """Largest change of size, as a fraction."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Largest rotation, in degrees."""
    brightness: float = Field(0.0, ge=0, le=1)
    """Largest change of brightness, as a fraction of the full range."""
    contrast: float = Field(0.0, ge=0, le=1)
    """Largest change of contrast, as a fraction."""
    hue: float = Field(0.0, ge=0, le=1)
    """Largest shift of the hue, as a fraction of the colour circle."""
    saturation: float = Field(0.0, ge=0, le=1)
    """Largest change of saturation, as a fraction of the full range."""
    probability: float = Field(0.5, ge=0, le=1)
    """Probability of each change but the flip."""


class Encoder(_Table):
    """A network of segmentation-models, instead of the U-Net."""

    encoder: str
    """The library's name of the encoder, e.g. `resnet34`."""
    decoder: Literal["unet", "fpn", "linknet", "pspnet"] = "unet"
    weights: str = "imagenet"
    """Initial weights of the encoder: `imagenet`, `none`, or a .h5 file."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the .h5 file; required for a file, and checked when the model is built."""


class Refine(_Table):
    """Refinement of probability maps along their contours, by a second network on patches at full resolution."""

    size: tuple[Side, Side] = (1280, 1918)
    """Height and width in pixels of the photos that patches are cut from: the photos' own, or less."""
    patch: Side = 64
    """Side of a patch in pixels."""
    spacing: Side = 32
    """Smallest distance of two patches along a contour, in pixels."""
    base_filters: Filters = 24
    """Filters of the first level of the refinement network, a U-Net on blocks of 2x2 pixels."""
    depth: Depth = 3
    """Number of times that its encoder halves the resolution."""
    epochs: Epochs = 4
    patches_per_photo: int = Field(64, gt=0, le=100_000)
    """Patches of each training photo, drawn at random from those along its contour."""
    batch_size: BatchSize = 64
    """Patches per optimizer step."""
    learning_rate: LearningRate = 3e-3
    """Learning rate after the warm-up, which decays to zero with a cosine."""
    loss: Loss = "bce_log_dice"
    """As the recipe's `loss`, per patch."""
    border_weight: BorderWeight = 4.0
    """Weight in the loss of pixels within 8 pixels of the car's contour."""
    ema_decay: float = Field(0.995, ge=0, lt=1)
    """Decay per step of the moving average of the weights that is saved."""

    @model_validator(mode="after")
    def _check_patch(self) -> Self:
        multiple = 2 << self.depth
        if self.patch % multiple:
            raise ValueError(
                f"patch {self.patch} is no multiple of {multiple}, which a depth of {self.depth} needs"
            )
        if self.patch > min(self.size):
            raise ValueError(f"patch {self.patch} does not fit a size of {list(self.size)}")
        if self.spacing > self.patch // 2:
            raise ValueError(f"spacing {self.spacing} leaves gaps; at most half of a patch of {self.patch}")
        return self


_UNET, _ENCODER = "<unet>", "<encoder>"


def _kind(model: object) -> str:
    """Return the tag of the union's member that validates `model`: a table or an `Encoder`, or the name `unet`."""
    return _ENCODER if isinstance(model, (dict, Encoder)) else _UNET


class Recipe(_Table):
    """A network, its training, and its prediction."""

    name: str = Field(exclude=True)
    """Name of the file without its ending; not a key of the file."""

    model: Annotated[
        Annotated[Literal["unet"], Tag(_UNET)] | Annotated[Encoder, Tag(_ENCODER)], Discriminator(_kind)
    ] = "unet"
    """`unet`, or a table with the keys of `Encoder`."""
    base_filters: Filters = 64
    """Filters of the first level; each level below has twice as many. With an encoder: filters of
    its decoder, where 16 gives the library's default. unet: filters of the last block; each block before it has twice
    as many. linknet: filters of the last block only. fpn: a sixteenth of the filters of each pyramid block. pspnet: a
    32nd of the filters of each convolution of the pyramid pooling."""
    depth: Depth = 4
    """Number of times that the encoder halves the resolution."""
    norm: Literal["none", "batch", "weight_standardized"] = "none"
    """Normalisation: batch normalisation after each 3x3 convolution, or weight standardisation of its filters, which
    costs less and does not depend on the batch."""
    space_to_depth: int = Field(1, gt=0, le=64)
    """Side of the pixel blocks that become channels before the network, and pixels again after it, so that it
    computes smaller feature maps; 1 leaves photos as they are."""
    residual: bool = False
    """Add each block's input, after a 1x1 convolution, to its output."""
    bottleneck: Literal["plain", "dilated"] = "plain"
    """Two plain convolutions, or a cascade of six with dilation rates 1 to 32, whose outputs are summed."""
    upsampling: Literal["transposed", "nearest"] = "transposed"
    """2x2 transposed convolution, or nearest-neighbour upsampling and a 2x2 convolution."""
    input_skip: bool = False
    """Concatenate the photo to the input of the last decoder level."""
    padding: Literal["same", "valid"] = "same"
    """Padding of the convolutions; `valid` crops the skips, as in the U-Net paper."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate before the bottleneck."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"] = "float32"
    """Precision of the inner layers; weights, the last layer and the loss are float32 always. `auto`: the one of
    float32 and bfloat16 (float16 on a GPU without bfloat16) in which the machine trains faster, measured when a run
    begins."""

    loss: Loss = "bce"
    """Binary cross-entropy, alone, or with 1 - Dice or -log(Dice) per photo added."""
    border_weight: BorderWeight = 1.0
    """Weight in the loss of pixels near the car's contour; the winners used 3."""
    border_window: float = Field(41 / 1024, gt=0, le=100)
    """Side of the window that defines these pixels, as a share of the height; the winners' 41 pixels at 1024."""
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = Field(0.004, ge=0, le=100)
    """Weight decay of AdamW; Adam has none."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest global norm of the gradients; without it they are not clipped."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Cosine: one decay to zero over all stages, in proportion to the pixels trained on."""
    warmup_steps: int = Field(0, ge=0, le=1_000_000_000)
    """Steps in which the learning rate rises linearly from zero."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the exponential moving average of the weights that is evaluated and saved; 0 saves the last
    weights."""
    freeze_encoder_epochs: int = Field(0, ge=0, le=10_000_000)
    """Number of first epochs in which a pretrained encoder is not trained."""
    seed: int = Field(0, ge=0, le=_MAX_SEED)
    augmentation: Augmentation = Augmentation()
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=_MAX_STAGES)
    refine: Refine | None = None
    """Refinement along the contour; without the table, or with `none`, the network's map is the result."""

    tta: Literal["none", "flip", "scales"] = "flip"
    """Test-time augmentation, the mean over views of a photo: `flip` adds the mirrored photo, `scales` both views at
    0.9 and 1.1 times the size."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """Probability above which a pixel belongs to the mask."""

    @field_validator("refine", mode="before")
    @classmethod
    def _none_is_no_refinement(cls, value: object) -> object:
        """Return None for the text `none`: TOML has no null, and a study changes recipes that refine."""
        return None if value == "none" else value

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.padding == "valid" and (self.bottleneck, self.upsampling, self.space_to_depth) != (
            "plain",
            "transposed",
            1,
        ):
            raise ValueError(
                'padding = "valid" goes with bottleneck = "plain", upsampling = "transposed" and space_to_depth = 1'
                " only; the others pad inside the network"
            )
        if self.freeze_encoder_epochs and (self.model == "unet" or self.model.weights == "none"):
            raise ValueError("freeze_encoder_epochs: only with an encoder that comes with weights")
        if self.refine and any(a < b for a, b in zip(self.refine.size, self.size, strict=True)):
            raise ValueError(
                f"refine.size {list(self.refine.size)}: is smaller than the last stage's {list(self.size)}"
            )
        if self.model != "unet":
            self._check_encoder(self.model)
        return self

    def _check_encoder(self, encoder: Encoder) -> None:
        fields = Recipe.model_fields
        unused = [key for key in _UNET_ONLY if getattr(self, key) != fields[key].default]
        if unused:
            raise ValueError(
                f'{", ".join(unused)}: only with model = "unet"; segmentation-models has no such key'
            )
        if encoder.sha256 and encoder.weights in ("none", "imagenet"):
            raise ValueError("model.sha256: only with a file of weights")
        if encoder.decoder == "pspnet" and len({stage.size for stage in self.stages}) > 1:
            raise ValueError("model.decoder pspnet: is built for one size alone; give all stages the same")
        if encoder.decoder == "pspnet" and self.tta == "scales":
            raise ValueError("model.decoder pspnet: is built for one size alone; set tta to none or flip")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the photos at prediction: those of the last stage."""
        return self.stages[-1].size


def is_recipe_name(name: str) -> bool:
    """Return True if `src/recipes` contains a recipe of this name."""
    return os.path.isfile(RECIPES / f"{name}.toml")


def read_recipe(name: str, changes: list[str] | None = None) -> Recipe:
    """Read a recipe by its name (a file in `src/recipes`) or by its path.

    Args:
        name: e.g. `baseline`, or the path of a TOML file.
        changes: `key=value` pairs that override the file's, e.g. `base_filters=8`, `stages.0.epochs=2`.

    Raises:
        UserError: no such recipe, an unknown key, or an invalid value.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        table = read_toml(path)
    except FileNotFoundError:
        raise _no_such_recipe(name) from None
    for change in changes or []:
        _set_key(table, change)
    return _validate(table, path)


def _no_such_recipe(name: str) -> UserError:
    known = sorted(file.stem for file in RECIPES.glob("*.toml"))
    nearest = get_close_matches(Path(name).stem, known, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    if name.endswith(".toml"):
        return UserError(f"{name}: no such file; {hint}known recipes of the project are {', '.join(known)}")
    return UserError(f"{name}: no such recipe; {hint}known are {', '.join(known)}, or give a .toml file")


def check_recipe_name(name: str, path: Path) -> None:
    """Raise UserError if the name of a recipe, which `path` gives it, is not that of a folder for its runs."""
    if name.startswith(".") or "/" in name or "\\" in name or not name.isprintable() or not name.strip():
        raise UserError(
            f"{path}: a recipe cannot be named {name!r}; its runs are written to RUNS/NAME, so that a name has no"
            " slash and does not begin with a dot"
        )


def key_paths(key: str) -> list[str]:
    """Return the paths of a recipe's key as `read_recipe` takes them, e.g. `stages.0.epochs` and `refine.epochs`."""
    tables: dict[str, type[BaseModel]] = {
        "": Recipe,
        "stages.0.": Stage,
        "refine.": Refine,
        "augmentation.": Augmentation,
    }
    return [f"{prefix}{key}" for prefix, table in tables.items() if key in table.model_fields]


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe with all keys, including those at their defaults."""
    path.write_text(tomli_w.dumps(recipe.model_dump(exclude_none=True)), encoding="utf-8")


def differences(recipe: Recipe, other: Recipe) -> list[str]:
    """List the keys in which two recipes differ, as `key (value, other value)`."""
    return _differing_keys(recipe.model_dump(), other.model_dump(), "")


def _differing_keys(first: Any, second: Any, key: str) -> list[str]:
    """Compare two values of a key: tables key by key, and lists of as many tables table by table."""
    if first == second:
        return []
    if isinstance(first, dict) and isinstance(second, dict):
        below = [(name, value, second.get(name)) for name, value in first.items()]
    elif _is_tables(first) and _is_tables(second) and len(first) == len(second):
        below = [(str(number), *pair) for number, pair in enumerate(zip(first, second, strict=True))]
    else:
        return [f"{key} ({_summary(first)}, {_summary(second)})"]
    prefix = f"{key}." if key else ""
    return [text for name, one, other in below for text in _differing_keys(one, other, f"{prefix}{name}")]


def _summary(value: Any) -> str:
    """Return the text of a value; tables are only counted."""
    if isinstance(value, dict):
        return "a table"
    if _is_tables(value):
        return f"a list of {len(value)}"
    return "none" if value is None else str(value)


def _is_tables(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], dict)


def _set_key(table: dict[str, Any], change: str) -> None:
    """Apply a `key=value` of the command line, whose key may be nested: `stages.0.epochs=2`."""
    key, separator, text = change.partition("=")
    if not separator or not key:
        raise UserError(f"--set {change}: expected key=value")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text  # a bare word stands for a string
    *parents, last = key.split(".", _MAX_KEY_PARTS)
    target: Any = table
    try:
        for step in parents:
            target = target.setdefault(step, {}) if isinstance(target, dict) else target[_index(step)]
        target[last if isinstance(target, dict) else _index(last)] = value
    except (IndexError, TypeError):
        raise UserError(f"--set {change}: the recipe has no {key}") from None


def _index(step: str) -> int:
    """Return the index of an item of a list that a part of a key names."""
    index = parse_integer(step, 0, _MAX_STAGES)
    if index is None:
        raise IndexError
    return index


def _validate(table: dict[str, Any], path: Path) -> Recipe:
    check_recipe_name(path.stem, path)
    if "name" in table:
        raise UserError(f"{path}: unknown key 'name'; a recipe is named by its file")
    try:
        return Recipe(name=path.stem, **table)
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(error)}") from None


def _describe(error: ValidationError) -> str:
    """Describe the first invalid key in one line."""
    first = error.errors()[0]
    location = [str(step) for step in first["loc"] if step not in (_UNET, _ENCODER)]
    key = ".".join(location)
    if first["type"] == _UNKNOWN_KEY:
        unknown, nearest, known = (first["ctx"][name] for name in ("key", "nearest", "known"))
        prefix = "".join(f"{step}." for step in location)
        hint = f"did you mean {prefix + nearest[0]!r}?" if nearest else f"known keys are {', '.join(known)}"
        return f"unknown key {prefix + unknown!r}; {hint}"
    if first["type"] == "value_error":  # keys that cannot be combined
        return f"{key}{': ' if key else ''}{first['ctx']['error']}"
    return f"{key}: {first['msg'].lower()}, not {_repr(first.get('input'))}"


def _repr(value: object) -> str:
    """Return the text of an invalid value, which may be a number of any length or a list within lists."""
    try:
        return reprlib.repr(value)
    except (ValueError, RecursionError):
        return f"this {type(value).__name__}"
