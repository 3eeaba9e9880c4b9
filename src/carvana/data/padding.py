"""Padding to the sizes that a network eats, and cutting it off again.

A network that halves its input four times needs sides that 16 divides: a photo of 1918 columns becomes
1920. One of `valid` convolutions answers with a smaller map than its input, so that it also needs a margin
around the photo. The border is a reflection, which looks like more of the studio, and lies on both sides alike.
"""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class SizeSpec:
    """How the size of a network's map relates to that of its input: all that photos are padded by."""

    multiple: int = 1
    remainder: int = 0
    """A side of the map leaves this when divided by `multiple`."""
    margin: int = 0
    """Pixels on each side of the input that the map lacks."""

    def map_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest map, (height, width), that covers `size`."""
        height, width = (
            -(-(side - self.remainder) // self.multiple) * self.multiple + self.remainder for side in size
        )
        return height, width

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest input, (height, width), whose map covers `size`."""
        height, width = self.map_size(size)
        return height + 2 * self.margin, width + 2 * self.margin

    def nearest_input(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest input, (height, width), that covers one of `size`: `size` itself where it fits."""
        height, width = (max(1, side - 2 * self.margin) for side in size)
        return self.input_size((height, width))


def pad(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reflect an image (height, width[, channels]) outwards to a larger `size` (height, width)."""
    height, width = image.shape[:2]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    bottom, right = size[0] - height - top, size[1] - width - left
    if not top + bottom + left + right:
        return image
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT_101)


def crop(padded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Undo `pad`: the middle of `padded` (height, width[, channels]) that has `size` (height, width)."""
    top, left = (padded.shape[0] - size[0]) // 2, (padded.shape[1] - size[1]) // 2
    return padded[top : top + size[0], left : left + size[1]]
