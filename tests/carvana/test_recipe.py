"""Recipes: reading, validation, and the messages for invalid ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.errors import UserError
from carvana.recipe import RECIPES, differences, is_recipe_name, read_recipe, write_recipe


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_every_recipe_survives_writing(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    write_recipe(recipe, tmp_path / f"{name}.toml")
    assert read_recipe(str(tmp_path / f"{name}.toml")) == recipe


def test_baseline_has_the_posts_settings() -> None:
    recipe = read_recipe("baseline")
    assert recipe.size == (288, 432)  # landscape: height comes first
    assert (recipe.base_filters, recipe.depth, recipe.dropout, recipe.norm) == (64, 4, 0.3, "none")
    assert (recipe.loss, recipe.optimizer) == ("bce", "adam")
    assert not any(recipe.augmentation.model_dump(exclude={"probability"}).values())


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("augmented", ["augmentation"]),
        ("batch_norm", ["norm"]),
        ("cropped", ["padding"]),
        ("dilated", ["bottleneck"]),
        ("highres", ["stages"]),
        ("input_skip", ["input_skip"]),
        ("residual", ["residual"]),
        ("upsampling", ["upsampling"]),
    ],
)
def test_variant_differs_from_the_baseline_in_one_key(name: str, keys: list[str]) -> None:
    recipe, baseline = read_recipe(name), read_recipe("baseline")
    changed = [line.split()[0].partition(".")[0] for line in differences(recipe, baseline)]
    assert list(dict.fromkeys(changed)) == keys
    epochs = [sum(stage.epochs for stage in one.stages) for one in (recipe, baseline)]
    assert epochs[0] == epochs[1]


def test_changes_override_keys() -> None:
    recipe = read_recipe(
        "fast",
        ["base_filters=4", "stages.0.epochs=2", "augmentation.flip=0", "loss=bce", "stages.0.size=[32, 48]"],
    )
    assert (recipe.base_filters, recipe.stages[0].epochs, recipe.stages[0].size) == (4, 2, (32, 48))
    assert (recipe.augmentation.flip, recipe.loss) == (0, "bce")
    assert differences(recipe, read_recipe("fast", ["base_filters=4"])) == [
        "loss (bce, bce_log_dice)",
        "augmentation.flip (0.0, 0.5)",
        "stages.0.size ((32, 48), (192, 288))",
        "stages.0.epochs (2, 5)",
    ]


def test_tables_that_one_recipe_lacks_are_not_printed_whole() -> None:
    changed = read_recipe("hour").model_copy(update={"refine": None, "name": "fast"})
    assert differences(read_recipe("fast"), changed) == [
        "stages (a list of 2, a list of 3)",
        "refine (a table, none)",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("basefilters=4", r"unknown key 'basefilters'; did you mean 'base_filters'\?"),
        ("widht=4", "unknown key 'widht'; known keys are model, base_filters, depth, .*"),
        ("stages.0.epoch=4", r"unknown key 'stages.0.epoch'; did you mean 'stages.0.epochs'\?"),
        ("stagse.0.epochs=4", r"unknown key 'stagse'; did you mean 'stages'\?"),
        ("augmentation.flipp=1", r"unknown key 'augmentation.flipp'; did you mean 'augmentation.flip'\?"),
        ("3=4", "unknown key '3'"),
        ("seed.x=1", "seed: .*valid integer"),
        ("base_filters=0", "base_filters: .*greater than 0"),
        ("loss=mse", "loss: .*'bce'"),
        ("stages.9.epochs=4", "has no stages.9.epochs"),
        ("stages.last.epochs=4", "has no stages.last.epochs"),
        ("base_filters", "expected key=value"),
        ("name=best", "named by its file"),
        ("stages=[]", "stages: .*at least 1"),
        ("model=segnet", "model: .*'unet'"),
        (
            "model={encoder='vgg16', weigths='none'}",
            r"unknown key 'model.weigths'; did you mean 'model.weights'\?",
        ),
        ("stages.0.accumulation_steps=3", "accumulation_steps 3 does not divide the batch_size of 8"),
        ("freeze_encoder_epochs=1", "freeze_encoder_epochs: only with an encoder that comes with weights"),
        ("replay={recipe='fast'}", "unknown key 'replay'"),
        ("model={decoder='unet'}", "model.encoder: field required"),
        ("model={encoder='vgg16', decoder='deeplab'}", "model.decoder: .*'pspnet'"),
        ("seed=8589934592", "seed: .*less than or equal to 4294967295, not 8589934592"),
        ("seed=-1", "seed: .*greater than or equal to 0, not -1"),
        ("seed=1.5", "seed: .*valid integer.*, not 1.5"),
        ("seed=²", "seed: .*valid integer.*, not '²'"),
        ("seed=" + "9" * 5_000, "seed: .*"),
        ("seed=0x" + "f" * 5_000, "seed: .*, not this int"),
        ("seed=" + "[" * 3_000, "seed: .*valid integer"),
        ("seed=[[[[[[[[[[1]]]]]]]]]]", "seed: .*valid integer"),
        ("seed={a.b.c.d.e.f.g.h.i.j=1}", "seed: .*valid integer"),
        ("seed=2000-01-01", "seed: .*valid integer"),
        ("base_filters=1000000", "base_filters: .*less than or equal to 4096"),
        ("depth=40", "depth: .*less than or equal to 12"),
        ("stages.0.size=[10000000,10000000]", "stages.0.size.0: .*less than or equal to 16384"),
        ("stages.0.size=[288]", "stages.0.size.1: field required"),
        ("stages.0.size=[288,432,3]", "stages.0.size: .*at most 2"),
        ("stages.0.batch_size=1000000", "stages.0.batch_size: .*less than or equal to 65536"),
        ("stages.0.epochs=1000000000000", "stages.0.epochs: .*less than or equal to 100000"),
        ("stages.0.learning_rate=inf", "stages.0.learning_rate: .*finite number"),
        ("stages.0.learning_rate=nan", "stages.0.learning_rate: .*finite number"),
        ("stages.0.learning_rate=1e300", "stages.0.learning_rate: .*less than or equal to 100"),
        ("stages.0.learning_rate=0", "stages.0.learning_rate: .*greater than 0"),
        ("stages.-1.epochs=4", "has no stages.-1.epochs"),
        ("stages.².epochs=4", "has no stages.².epochs"),
        ("stages.99999999999999999999.epochs=4", "has no stages.9*.epochs"),
        (f"stages.{'9' * 5_000}.epochs=4", "has no stages.9*"),
        (f"augmentation{'.a' * 5_000}=1", "unknown key 'augmentation.a'"),
        ("stages=" + str([{"size": [8, 8]}] * 101).replace("'size':", "size="), "stages"),
        ("warmup_steps=1e99", "warmup_steps: .*integer"),
        ("border_window=1000", "border_window: .*less than or equal to 100"),
        ("border_weight=inf", "border_weight: .*finite number"),
        ("weight_decay=-inf", "weight_decay: .*finite number"),
        ("clip_norm=nan", "clip_norm: .*finite number"),
        ("dropout=1", "dropout: .*less than 1"),
        ("ema_decay=1", "ema_decay: .*less than 1"),
        ("threshold=1", "threshold: .*less than 1"),
        ("space_to_depth=1000", "space_to_depth: .*less than or equal to 64"),
        ("refine={patch=1000000}", "refine.patch: .*less than or equal to 16384"),
        ("refine={depth=40}", "refine.depth: .*less than or equal to 12"),
        ("refine={size=[1,1]}", r"patch 64 does not fit a size of \[1, 1\]"),
        ("augmentation.rotate=1e9", "augmentation.rotate: .*less than or equal to 180"),
        ("augmentation=1", "augmentation: .*"),
        ("", "expected key=value"),
        ("=1", "expected key=value"),
        (".=1", "unknown key ''"),
    ],
)
def test_invalid_keys_and_values_are_named(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_recipe("baseline", [change])


@given(
    st.sampled_from(
        ["seed", "depth", "stages", "stages.0", "stages.0.size", "refine", "augmentation.flip", "model"]
    ),
    st.text(alphabet="[]{}=\"'\n.,0123456789abc_-+: e²nif", max_size=30) | st.integers().map(str),
)
def test_any_value_is_valid_or_refused_in_one_line(key: str, value: str) -> None:
    try:
        read_recipe("fast", [f"{key}={value}"])
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "name", ["..toml", "...toml", ".toml", "....toml", ".hidden.toml", "a\nb.toml", " .toml"]
)
def test_names_that_are_no_folder_for_runs_are_refused(tmp_path: Path, name: str) -> None:
    write_recipe(read_recipe("fast"), tmp_path / name)
    with pytest.raises(UserError, match="a recipe cannot be named"):
        read_recipe(str(tmp_path / name))


def test_names_may_have_dots_and_any_letters(tmp_path: Path) -> None:
    for name in ("v1.2", "größer", "車", "$x$", "a b", "br[1]"):
        write_recipe(read_recipe("fast"), tmp_path / f"{name}.toml")
        assert read_recipe(str(tmp_path / f"{name}.toml")).name == name


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".toml", "null\0", "no/such/folder", ""])
def test_names_without_a_file_are_refused(name: str) -> None:
    assert not is_recipe_name(name)
    with pytest.raises(UserError, match=r"no such recipe|cannot be read"):
        read_recipe(name)


def test_none_takes_the_refinement_out() -> None:
    assert read_recipe("fast").refine is not None
    assert read_recipe("fast", ["refine=none"]).refine is None


def test_keys_that_cannot_be_combined_are_named() -> None:
    with pytest.raises(UserError, match=r'baseline\.toml: padding = "valid" goes with bottleneck'):
        read_recipe("baseline", ["padding=valid", "bottleneck=dilated"])
    with pytest.raises(UserError, match=r'padding = "valid" goes with .* space_to_depth = 1'):
        read_recipe("cropped", ["space_to_depth=2"])
    with pytest.raises(UserError, match='norm, dropout: only with model = "unet"'):
        read_recipe("vgg16", ["norm=batch", "dropout=0.1"])
    with pytest.raises(UserError, match=r"model\.sha256: only with a file"):
        read_recipe("vgg16", [f"model.sha256={'0' * 64}"])
    with pytest.raises(UserError, match=r"pspnet: .* give all stages the same"):
        read_recipe("highres", ["dropout=0", "model={encoder='vgg16', decoder='pspnet'}"])


def test_error_of_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(
        UserError,
        match=r"besst: no such recipe; did you mean best\? known are .*baseline, .*fast, .*miniature",
    ):
        read_recipe("besst")


def test_error_of_a_missing_file_says_so() -> None:
    with pytest.raises(
        UserError,
        match=r"recipes/fastt\.toml: no such file; did you mean fast\? known recipes of .*miniature",
    ):
        read_recipe("recipes/fastt.toml")


def test_invalid_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("base_filters = = 3")
    with pytest.raises(UserError, match=r"mine\.toml: not a TOML file"):
        read_recipe(str(tmp_path / "mine.toml"))
