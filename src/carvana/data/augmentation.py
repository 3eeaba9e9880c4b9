"""Augmentation of photos and masks by albumentations."""

import albumentations as A
import cv2
import numpy as np

from carvana.recipe import Augmentation


class Augmenter:
    """Random changes that are applied to a photo and its mask alike.

    An object must not be shared between threads, because albumentations keeps its random state in it.
    """

    def __init__(self, config: Augmentation) -> None:
        """Create the transforms whose strength in the recipe's `augmentation` is not 0."""
        self._transforms = A.Compose(_transforms(config))

    def __call__(self, photo: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment a photo (h, w, 3) and its mask (h, w), both uint8, 0..255; the same seed gives the same result."""
        if not self._transforms.transforms:
            return photo, mask
        self._transforms.set_random_seed(seed)
        augmented = self._transforms(image=photo, mask=mask)
        return augmented["image"], augmented["mask"]


def _transforms(config: Augmentation) -> list[A.BasicTransform]:
    transforms: list[A.BasicTransform] = []
    if config.flip:
        transforms.append(A.HorizontalFlip(p=config.flip))
    if config.shift or config.scale or config.rotate:
        transforms.append(
            A.Affine(
                translate_percent=(-config.shift, config.shift),
                scale=(1 - config.scale, 1 + config.scale),
                rotate=(-config.rotate, config.rotate),
                border_mode=cv2.BORDER_REFLECT_101,
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_LINEAR,
                p=config.probability,
            )
        )
    if config.brightness or config.contrast:
        transforms.append(
            A.RandomBrightnessContrast(config.brightness, config.contrast, p=config.probability)
        )
    if config.hue or config.saturation:
        hue, saturation = round(180 * config.hue), round(255 * config.saturation)
        transforms.append(A.HueSaturationValue(hue, saturation, 0, p=config.probability))
    return transforms
