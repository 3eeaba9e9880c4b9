"""The estimate of the memory that a training needs."""

import pytest

from carvana.errors import UserError
from carvana.models.build import build
from carvana.models.encoders import count_decoder_weights
from carvana.models.unet import count_filter_weights
from carvana.recipe import RECIPES, Encoder, read_recipe
from carvana.training import memory
from carvana.training.memory import check_memory


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_every_recipe_is_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 64 * 10**9)
    check_memory(read_recipe(name), 5_000)


@pytest.mark.parametrize("patch", [4, 64, 1280])
def test_patches_of_any_size_are_trained(patch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 10**13)
    changes = [f"refine.patch={patch}", "refine.depth=1", "refine.spacing=2", "refine.batch_size=1"]
    check_memory(read_recipe("fast", changes), 5_000)


@pytest.mark.parametrize("name", ["baseline", "fast", "cropped", "upsampling"])
def test_nearly_all_weights_are_counted(name: str) -> None:
    recipe = read_recipe(name, ["base_filters=8"])
    recipe = recipe.model_copy(update={"precision": "float32"})
    weights, counted = build(recipe).count_params(), count_filter_weights(recipe)
    assert 0.97 * weights < counted <= weights


@pytest.mark.parametrize("decoder", ["unet", "fpn", "linknet"])
def test_the_weights_of_a_decoder_are_not_overcounted(decoder: str) -> None:
    recipe = read_recipe("resnet34", [f"model={{encoder='resnet34', decoder='{decoder}', weights='none'}}"])
    assert isinstance(recipe.model, Encoder)
    assert count_decoder_weights(recipe.model, recipe.base_filters) <= build(recipe).count_params()


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        ("baseline", "base_filters=4096", "base_filters 4096 with depth 4 needs over"),
        ("baseline", "depth=12", "base_filters 64 with depth 12 needs over"),
        ("baseline", "stages.0.size=[16384,16384]", "a batch_size of 8 at 16384x16384 needs over"),
        ("baseline", "stages.0.batch_size=65536", "a batch_size of 65536 at 432x288 needs over"),
        ("resnet34", "base_filters=4096", "base_filters 4096 with depth 4 needs over"),
        ("fast", "refine.base_filters=4096", "refine.base_filters 4096 with refine.depth 3 needs over"),
        ("fast", "refine.patches_per_photo=100000", "refine.patches_per_photo 100000 needs over"),
        (
            "fast",
            "refine={patch=256, batch_size=65536}",
            "a refine.batch_size of 65536 at 256x256 needs over",
        ),
    ],
)
def test_what_cannot_fit_is_refused(
    recipe: str, change: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 16 * 10**9)
    with pytest.raises(UserError, match=rf"^recipe {recipe}: {message} \d.* GB of memory, .* has 16\.0 GB"):
        check_memory(read_recipe(recipe, [change]), 5_000)
