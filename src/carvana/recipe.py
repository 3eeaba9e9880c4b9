"""A recipe: all that decides a score, in one TOML file, read and validated."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationError,
    model_validator,
)

from carvana.errors import UserError

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
"""Keys that networks of segmentation-models have no use for."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Table):
    """A resolution and how long it is trained at."""

    size: tuple[PositiveInt, PositiveInt]
    """Height and width in pixels that photos are resized to."""
    epochs: PositiveInt
    batch_size: PositiveInt
    """Photos a step."""
    accumulation_steps: PositiveInt = 1
    """Micro-batches that a batch is split into where it does not fit the device; their gradients are averaged."""
    learning_rate: float = Field(gt=0)
    """Learning rate at the stage's start, before the schedule."""

    @model_validator(mode="after")
    def _microbatches_have_one_size(self) -> Self:
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"accumulation_steps {self.accumulation_steps} does not divide the batch_size of {self.batch_size}"
            )
        return self


class Augmentation(_Table):
    """How far photos are changed at random; 0 leaves that change out."""

    flip: float = Field(0.0, ge=0, le=1)
    """Probability of a left-right flip."""
    shift: float = Field(0.0, ge=0, lt=1)
    """Largest shift, as a share of the side."""
    scale: float = Field(0.0, ge=0, lt=1)
    """Largest change of size, as a share."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Largest turn, in degrees."""
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=1)
    """Largest turn of the colour circle, as a share of it."""
    saturation: float = Field(0.0, ge=0, le=1)
    probability: float = Field(0.5, ge=0, le=1)
    """Of each change but the flip."""


class Encoder(_Table):
    """A network of segmentation-models, in place of the U-Net of the post."""

    encoder: str
    """As the library names it, e.g. `resnet34`."""
    decoder: Literal["unet", "fpn", "linknet", "pspnet"] = "unet"
    weights: str = "imagenet"
    """`imagenet`, `none`, or a .h5 file of the encoder's weights."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """Of that file."""


_UNET, _ENCODER = "<unet>", "<encoder>"


def _kind(model: object) -> str:
    return _ENCODER if isinstance(model, (dict, Encoder)) else _UNET


class Recipe(_Table):
    """A network and how it is trained and asked."""

    name: str = Field(exclude=True)
    """The file's name without its ending; not a key of the file."""

    model: Annotated[
        Annotated[Literal["unet"], Tag(_UNET)] | Annotated[Encoder, Tag(_ENCODER)], Discriminator(_kind)
    ] = "unet"
    base_filters: PositiveInt = 64
    """Filters of the first level; each level below has twice as many. With an encoder: of the decoder's last
    stage, by which its others grow; the library's own is 16."""
    depth: PositiveInt = 4
    """How often the photo is halved."""
    norm: Literal["none", "batch", "weight_standardized"] = "none"
    """Of what a convolution makes, over the batch; or of its filters, which costs less and ties no photos."""
    space_to_depth: PositiveInt = 1
    """Squares of so many pixels a side become the channels of one: the network works on a smaller map, and its
    answer is unfolded again."""
    residual: bool = False
    """Add a block's input, by a 1x1 convolution, to its output."""
    bottleneck: Literal["plain", "dilated"] = "plain"
    """Dilated: six convolutions of rates 1 to 32 after each other, and their sum."""
    upsampling: Literal["transposed", "nearest"] = "transposed"
    """By a 2x2 transposed convolution, or by repeating each pixel and a 2x2 convolution."""
    input_skip: bool = False
    """Show the photo itself to the last decoder stage."""
    padding: Literal["same", "valid"] = "same"
    """Convolutions without padding and cropped skips, as in the U-Net paper."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Before the lowest level."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Of the maps within the network; weights, the last layer and the loss are float32 always."""

    loss: Literal["bce", "bce_dice", "bce_log_dice"] = "bce"
    border_weight: float = Field(1.0, ge=1)
    """Of pixels near the car's edge in the loss; the winners' was 3."""
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = Field(0.004, ge=0)
    """Of adamw alone."""
    clip_norm: float | None = Field(None, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    """Cosine: one decay to zero over all stages, in proportion to the pixels trained on."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the rate rises from zero."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay a step of the exponential moving average of weights that is evaluated and kept; 0 keeps the last."""
    freeze_encoder_epochs: int = Field(0, ge=0)
    """Epochs in which a pretrained encoder is left as it came."""
    seed: int = Field(0, ge=0)
    augmentation: Augmentation = Augmentation()
    stages: tuple[Stage, ...] = Field(min_length=1)

    tta: Literal["none", "flip", "scales"] = "flip"
    """Test-time augmentation, the mean over views of a photo. Flip: as it is and mirrored; scales: both, at 0.9, 1
    and 1.1 of the size."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """A pixel is car where its probability is above."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
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
        if self.model != "unet":
            self._fit_encoder(self.model)
        return self

    def _fit_encoder(self, encoder: Encoder) -> None:
        fields = Recipe.model_fields
        foreign = [key for key in _UNET_ONLY if getattr(self, key) != fields[key].default]
        if foreign:
            raise ValueError(
                f'{", ".join(foreign)}: only with model = "unet"; segmentation-models has no such key'
            )
        if encoder.sha256 and encoder.weights in ("none", "imagenet"):
            raise ValueError("model.sha256: only with a file of weights")
        if encoder.decoder == "pspnet" and len({stage.size for stage in self.stages}) > 1:
            raise ValueError("model.decoder pspnet: is built for one size alone; give all stages the same")
        if encoder.decoder == "pspnet" and self.tta == "scales":
            raise ValueError(
                "model.decoder pspnet: is built for one size alone; ask it with tta none or flip"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that it predicts at: those of the last stage."""
        return self.stages[-1].size


def is_known(name: str) -> bool:
    """Whether a recipe of this name lies in `src/recipes`."""
    return (RECIPES / f"{name}.toml").is_file()


def read_recipe(name: str, changes: list[str] | None = None) -> Recipe:
    """Read a recipe by its name (a file in `src/recipes`) or by its file.

    Args:
        name: e.g. `baseline`, or the path of a TOML file.
        changes: `key=value` pairs that override the file's, e.g. `base_filters=8`, `stages.0.epochs=2`.

    Raises:
        UserError: no such recipe, an unknown key, or a value that does not fit.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise UserError(f"{name}: no such recipe; known are {known}, or give a .toml file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a TOML file ({error})") from None
    for change in changes or []:
        _change(table, change)
    return _validated(table, path)


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe with every key, also those left at their defaults."""
    path.write_text(tomli_w.dumps(recipe.model_dump(exclude_none=True)))


def differences(recipe: Recipe, other: Recipe) -> list[str]:
    """The keys in which two recipes differ, as `key (value, other value)`."""
    first, second = recipe.model_dump(), other.model_dump()
    return [f"{key} ({first[key]}, {second[key]})" for key in first if first[key] != second[key]]


def _change(table: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise UserError(f"--set {change}: expected key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is meant as text
    *way, last = [int(step) if step.isdigit() else step for step in key.split(".")]
    place: Any = table
    try:
        for step in way:
            place = place[step] if isinstance(place, list) else place.setdefault(step, {})
        place[last] = value
    except (IndexError, TypeError, AttributeError):
        raise UserError(f"--set {change}: the recipe has no {key}") from None


def _validated(table: dict[str, Any], path: Path) -> Recipe:
    if "name" in table:
        raise UserError(f"{path}: unknown key 'name'; a recipe is named by its file")
    try:
        return Recipe(name=path.stem, **table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(step) for step in first["loc"] if step not in (_UNET, _ENCODER))
        if first["type"] == "value_error":  # of keys that do not fit together
            raise UserError(f"{path}: {key}{': ' if key else ''}{first['ctx']['error']}") from None
        if first["type"] == "extra_forbidden":
            raise UserError(f"{path}: unknown key {key!r}") from None
        raise UserError(f"{path}: {key}: {first['msg'].lower()}, not {first.get('input')!r}") from None
