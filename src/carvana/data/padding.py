"""Padding to what a network divides by, and cutting it off again.

A network that halves its input four times needs sides that 16 divides: a photo of 1918 columns becomes
1920. The border is a reflection, which looks like more of the studio, and lies on both sides alike.
"""

import cv2
import numpy as np


def padded_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The smallest (height, width) that covers `size` and that `multiple` divides."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def pad(image: np.ndarray, multiple: int) -> np.ndarray:
    """Reflect an image (height, width[, channels]) outwards until `multiple` divides both sides."""
    height, width = image.shape[:2]
    more = padded_size((height, width), multiple)
    top, left = (more[0] - height) // 2, (more[1] - width) // 2
    bottom, right = more[0] - height - top, more[1] - width - left
    if not top + bottom + left + right:
        return image
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT_101)


def cut(padded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Undo `pad`: the middle of `padded` (height, width[, channels]) that has `size` (height, width)."""
    top, left = (padded.shape[0] - size[0]) // 2, (padded.shape[1] - size[1]) // 2
    return padded[top : top + size[0], left : left + size[1]]
