"""The recipe of a refinement network."""

from carvana.models.refiner import refiner_recipe
from carvana.recipe import read_recipe


def test_patches_are_augmented_as_photos_are_but_not_shifted_off_the_contour() -> None:
    recipe = read_recipe("fast", ["augmentation.shift=0.2", "augmentation.rotate=5", "augmentation.flip=0.5"])
    augmentation = refiner_recipe(recipe).augmentation
    assert (augmentation.shift, augmentation.rotate, augmentation.flip) == (0, 5, 0.5)


def test_the_only_stage_has_the_size_and_epochs_of_the_patches() -> None:
    recipe = read_recipe("fast", ["refine.patch=32", "refine.spacing=16", "refine.epochs=7"])
    (stage,) = refiner_recipe(recipe).stages
    assert (stage.size, stage.epochs) == ((32, 32), 7)
