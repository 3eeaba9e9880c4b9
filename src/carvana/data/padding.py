"""Valid input sizes of networks, padding of photos to them, and cropping of maps.

A network that halves its input four times needs sides that are multiples of 16: a photo of 1918 columns is padded to
1920. A network of `valid` convolutions returns a map that is smaller than its input, so that it also needs a margin
around the photo. The padding is a reflection of the photo, half of it on each side.
"""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class SizeSpec:
    """Valid sizes of a network's map and input, in pixels."""

    multiple: int = 1
    remainder: int = 0
    """Each side of the map is a multiple of `multiple`, plus this."""
    margin: int = 0
    """Pixels by which the input exceeds the map on each side."""

    def map_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the smallest map, (height, width), that covers `size`."""
        height, width = (
            -(-(side - self.remainder) // self.multiple) * self.multiple + self.remainder for side in size
        )
        return height, width

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the smallest input, (height, width), whose map covers `size`."""
        height, width = self.map_size(size)
        return height + 2 * self.margin, width + 2 * self.margin

    def nearest_input(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the smallest valid input, (height, width), that covers `size`: `size` itself if it is valid."""
        height, width = (max(1, side - 2 * self.margin) for side in size)
        return self.input_size((height, width))


def pad(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pad an image (height, width[, channels]) by reflection to a larger `size` (height, width)."""
    height, width = image.shape[:2]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    bottom, right = size[0] - height - top, size[1] - width - left
    if not top + bottom + left + right:
        return image
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT_101)


def crop(padded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the centre of `size` (height, width) of `padded` (height, width[, channels]), the inverse of `pad`."""
    top, left = (padded.shape[0] - size[0]) // 2, (padded.shape[1] - size[1]) // 2
    return padded[top : top + size[0], left : left + size[1]]
