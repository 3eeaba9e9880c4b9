"""The least memory that a training needs, estimated before it begins."""

from carvana.backend import first_gpu
from carvana.errors import UserError
from carvana.machine import memory_bytes
from carvana.models.encoders import count_decoder_weights
from carvana.models.refiner import CHANNELS, refiner_recipe
from carvana.models.unet import count_filter_weights
from carvana.recipe import Encoder, Recipe

_FLOAT_BYTES = 4
_PIXEL_BYTES = 7
"""Bytes of a batch per pixel: 3 of the photo and 4 of its mask."""


def check_memory(recipe: Recipe, n_photos: int) -> None:
    """Raise UserError if a recipe's training on `n_photos` photos is sure not to fit the machine's memory.

    Counted are the weights of the networks' filters, the batches, the patches of the refinement, and on a processor,
    which shares the machine's memory, also what the optimizer keeps and the first two feature maps of a batch.
    """
    available, on_gpu = memory_bytes(), first_gpu() is not None
    for what, needed in _needs(recipe, n_photos, on_gpu):
        if needed > available:
            raise UserError(
                f"recipe {recipe.name}: {what} needs over {needed / 1e9:,.0f} GB of memory, and this machine has"
                f" {available / 1e9:,.1f} GB; change the recipe"
            )


def _needs(recipe: Recipe, n_photos: int, on_gpu: bool) -> list[tuple[str, int]]:
    """Return what a training keeps in memory, and its bytes."""
    needs = _network_needs(recipe, "", on_gpu)
    if recipe.refine is not None:
        needs += _network_needs(refiner_recipe(recipe), "refine.", on_gpu)
        patches = n_photos * recipe.refine.patches_per_photo
        needs.append(
            (f"refine.patches_per_photo {recipe.refine.patches_per_photo}", patches * _patch_bytes(recipe))
        )
    return needs


def _network_needs(recipe: Recipe, prefix: str, on_gpu: bool) -> list[tuple[str, int]]:
    """Return the needs of one network; `prefix` is that of its keys in the recipe."""
    if isinstance(recipe.model, Encoder):
        weights = count_decoder_weights(recipe.model, recipe.base_filters)
    else:
        weights = count_filter_weights(recipe)
    copies = (
        1 if on_gpu else 4
    )  # gradients and Adam's two averages; a GPU may have more memory than the machine
    network = f"{prefix}base_filters {recipe.base_filters} with {prefix}depth {recipe.depth}"
    needs = [(network, weights * copies * _FLOAT_BYTES)]
    for stage in recipe.stages:
        pixels = stage.batch_size * stage.size[0] * stage.size[1]
        needed = pixels * _PIXEL_BYTES
        if not on_gpu and recipe.model == "unet":
            values = 2 * recipe.base_filters * pixels // recipe.space_to_depth**2 // stage.accumulation_steps
            needed += values * (_FLOAT_BYTES if recipe.precision == "float32" else _FLOAT_BYTES // 2)
        size = f"{stage.size[1]}x{stage.size[0]}"
        needs.append((f"a {prefix}batch_size of {stage.batch_size} at {size}", needed))
    return needs


def _patch_bytes(recipe: Recipe) -> int:
    """Return the bytes of a patch's channels and of its mask in bits."""
    assert recipe.refine is not None
    return recipe.refine.patch**2 * CHANNELS + recipe.refine.patch**2 // 8
