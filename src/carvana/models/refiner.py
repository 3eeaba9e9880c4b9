"""The refinement network: a small U-Net on patches of the photo and of its probability map at full resolution."""

from carvana.backend import isolated_names, isolated_seed, keras
from carvana.models.build import check_precision
from carvana.models.unet import unet
from carvana.recipe import Recipe, Stage

CHANNELS = 4
"""Channels of a patch: red, green and blue of the photo, and its probability as a level 0..255."""

_BORDER_PIXELS = 17
"""Side of the window in which a pixel's neighbours decide whether it is near the contour: 8 pixels on each side."""

_WARMUP_STEPS = 100


def refiner_recipe(recipe: Recipe) -> Recipe:
    """Return the network and the training of a recipe's `[refine]` as a recipe of one stage, whose size is the patch.

    What `[refine]` does not say is what the U-Nets of this project train best with: blocks of 2x2 pixels, weight
    standardisation, AdamW, clipped gradients and a cosine. Patches are augmented as photos are, but not shifted: they
    lie on the contour.
    """
    refine = recipe.refine
    assert refine is not None
    stage = Stage(
        size=(refine.patch, refine.patch),
        epochs=refine.epochs,
        batch_size=refine.batch_size,
        learning_rate=refine.learning_rate,
    )
    return Recipe(
        name=recipe.name,
        base_filters=refine.base_filters,
        depth=refine.depth,
        space_to_depth=2,
        norm="weight_standardized",
        precision=recipe.precision,
        loss=refine.loss,
        border_weight=refine.border_weight,
        border_window=_BORDER_PIXELS / refine.patch,
        optimizer="adamw",
        clip_norm=1.0,
        schedule="cosine",
        warmup_steps=_WARMUP_STEPS,
        ema_decay=refine.ema_decay,
        seed=recipe.seed,
        augmentation=recipe.augmentation.model_copy(update={"shift": 0.0}),
        stages=(stage,),
    )


def build_refiner(recipe: Recipe) -> keras.Model:
    """Build the refinement network of a recipe that `refiner_recipe` returned.

    Returns:
        A model from patches (n, height, width, 4), 0..255, to probabilities (n, height, width, 1), 0..1.
    """
    check_precision(recipe)
    with isolated_seed(recipe.seed), isolated_names():
        return unet(recipe, CHANNELS)
