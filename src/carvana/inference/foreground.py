"""The soft edge of a cut-out: its alpha channel, and its colours without those of the ground behind the car."""

import cv2
import numpy as np

STEEPNESS = 1.5
"""Factor that makes edges narrower: probabilities below a sixth become transparent, and above five sixths opaque.

A network's edge is as wide as it is uncertain, some 3 pixels; that of a camera is narrower.
`./run.sh benchmark edges` compares values.
"""

_RADII = (20, 2)
"""Radii of the means in pixels: the first pass reaches the opaque inside of the car, the second is local."""

_STRIP = 256
"""Rows that are estimated at a time, so that the memory does not grow with the photo."""

_EPSILON = 1e-5


def alpha_channel(probability: np.ndarray, threshold: float, steepness: float = STEEPNESS) -> np.ndarray:
    """Return the opacity of each pixel from its probability.

    Args:
        probability: (height, width), float32, 0..1.
        threshold: the probability that becomes half opaque, 0..1 exclusive.
        steepness: factor of the opacity's distance from a half.

    Returns:
        (height, width), uint8, 0..255.
    """
    below, above = probability / threshold - 1, (probability - threshold) / (1 - threshold)
    distance = np.where(probability < threshold, below, above)  # -1..1
    return np.rint(255 * np.clip((1 + steepness * distance) / 2, 0, 1)).astype(np.uint8)


def cut_out(photo: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return a cut-out whose edge has the colours of the car alone.

    Args:
        photo: (height, width, 3), uint8, RGB.
        alpha: (height, width), uint8, 0..255.

    Returns:
        (height, width, 4), uint8, RGBA. Pixels that are far from the car are black and transparent.
    """
    rgba = np.zeros((*alpha.shape, 4), np.uint8)
    rgba[..., 3] = alpha
    reach = sum(_RADII)
    for top in range(0, len(alpha), _STRIP):
        strip, first = slice(top, top + _STRIP), max(0, top - reach)
        if alpha[strip].any():
            within = slice(first, top + _STRIP + reach)
            colours = estimate_foreground(photo[within], alpha[within])
            rgba[strip, :, :3] = colours[top - first :][:_STRIP]
    return rgba


def estimate_foreground(photo: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Estimate the colours that a partly transparent object would have on its own.

    A photo is `alpha * foreground + (1 - alpha) * background`. The means of foreground and background around each
    pixel are estimated with the weights alpha and 1 - alpha, and the foreground's is then corrected so that the
    equation holds. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021.

    Args:
        photo: (height, width, 3), uint8.
        alpha: (height, width), uint8, 0..255.

    Returns:
        (height, width, 3), uint8: the photo where alpha is 255, and black far from the object.
    """
    image, weight = photo.astype(np.float32), alpha[..., None].astype(np.float32) / 255
    foreground = background = image
    for radius in _RADII:
        foreground, background = _fuse(image, foreground, background, weight, radius)
    return np.rint(foreground).astype(np.uint8)


def _fuse(
    image: np.ndarray, foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray, radius: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return better estimates of the foreground, 0..255, and of the background's mean."""
    mean_alpha = _mean(alpha, radius)
    mean_foreground = _mean(foreground * alpha, radius) / (mean_alpha + _EPSILON)
    mean_background = _mean(background * (1 - alpha), radius) / (1 - mean_alpha + _EPSILON)
    error = image - alpha * mean_foreground - (1 - alpha) * mean_background
    return np.clip(mean_foreground + alpha * error, 0, 255), mean_background


def _mean(image: np.ndarray, radius: int) -> np.ndarray:
    """Return the mean of (height, width, channels) over the square of `2 * radius + 1` pixels around each pixel."""
    return cv2.blur(image, (2 * radius + 1, 2 * radius + 1)).reshape(image.shape)
