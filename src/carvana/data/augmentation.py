"""Augmentation by albumentations, as the recipe asks for it."""

import albumentations as A
import cv2
import numpy as np

from carvana.recipe import Augmentation


class Augmenter:
    """Changes a photo and its mask alike, at random.

    One object serves one thread: albumentations keeps its random state inside.
    """

    def __init__(self, recipe: Augmentation) -> None:
        """Build the transforms whose strength in the recipe is not zero."""
        self._transforms = A.Compose(_transforms(recipe))

    def __call__(self, photo: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment a photo (h, w, 3) and its mask (h, w), both uint8 0..255; the seed decides how."""
        if not self._transforms.transforms:
            return photo, mask
        self._transforms.set_random_seed(seed)
        changed = self._transforms(image=photo, mask=mask)
        return changed["image"], changed["mask"]


def _transforms(recipe: Augmentation) -> list[A.BasicTransform]:
    transforms: list[A.BasicTransform] = []
    if recipe.flip:
        transforms.append(A.HorizontalFlip(p=recipe.flip))
    if recipe.shift or recipe.scale or recipe.rotate:
        transforms.append(
            A.Affine(
                translate_percent=(-recipe.shift, recipe.shift),
                scale=(1 - recipe.scale, 1 + recipe.scale),
                rotate=(-recipe.rotate, recipe.rotate),
                border_mode=cv2.BORDER_REFLECT_101,
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_LINEAR,
                p=recipe.probability,
            )
        )
    if recipe.brightness or recipe.contrast:
        transforms.append(
            A.RandomBrightnessContrast(recipe.brightness, recipe.contrast, p=recipe.probability)
        )
    if recipe.hue or recipe.saturation:
        hue, saturation = round(180 * recipe.hue), round(255 * recipe.saturation)
        transforms.append(A.HueSaturationValue(hue, saturation, 0, p=recipe.probability))
    return transforms
