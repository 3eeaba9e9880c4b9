"""Overlap-tile prediction of large photos, figure 2 of the U-Net paper (https://arxiv.org/abs/1505.04597).

The input of a network with `valid` convolutions holds all pixels that a pixel of its map depends on, so that tiles
fit together as if the whole photo had been predicted at once. Each tile must start at a multiple of the factor by
which the network's pooling divides.
"""

from collections.abc import Callable

import numpy as np

from carvana.data.padding import SizeSpec

_SIDE = 800
"""Approximate largest side of a tile's map in pixels: a map of 64 filters takes 0.2 GB."""


def tile_starts(side: int, size_spec: SizeSpec, largest: int = _SIDE) -> tuple[int, list[int]]:
    """Cover one side of a network's map with tiles of equal length.

    Args:
        side: length in pixels, valid for `size_spec`.
        size_spec: the network's sizes.
        largest: approximate largest length of a tile.

    Returns:
        The length of a tile, and the first pixel of each tile; the last tile may overlap the one before it.
    """
    steps, tiles = side // size_spec.multiple, -(-side // largest)
    per_tile = -(-steps // tiles)
    starts = sorted(
        {min(number * per_tile, steps - per_tile) * size_spec.multiple for number in range(tiles)}
    )
    return per_tile * size_spec.multiple + size_spec.remainder, starts


def predict_tiled(
    predict: Callable[[np.ndarray], np.ndarray], photos: np.ndarray, size_spec: SizeSpec, largest: int = _SIDE
) -> np.ndarray:
    """Predict the maps of large photos tile by tile.

    Args:
        predict: maps photos (n, height, width, 3) to maps (n, ..., height - 2 margin, width - 2 margin).
        photos: (n, height, width, 3), uint8, 0..255, padded to an input size.
        size_spec: the network's sizes, with a margin.
        largest: approximate largest side of a tile's map.

    Returns:
        The maps of the whole photos, (n, ..., height - 2 margin, width - 2 margin), float32.
    """
    margin = size_spec.margin
    height, width = (side - 2 * margin for side in photos.shape[1:3])
    tile_height, tops = tile_starts(height, size_spec, largest)
    tile_width, lefts = tile_starts(width, size_spec, largest)
    corners = [(top, left) for top in tops for left in lefts]
    tiles = [
        predict(photos[:, top : top + tile_height + 2 * margin, left : left + tile_width + 2 * margin])
        for top, left in corners
    ]
    maps = np.empty((*tiles[0].shape[:-2], height, width), np.float32)
    for (top, left), tile in zip(corners, tiles, strict=True):
        maps[..., top : top + tile_height, left : left + tile_width] = tile
    return maps
