"""Overlap-tiles: a photo's map in pieces, as figure 2 of the U-Net paper has it (https://arxiv.org/abs/1505.04597).

A network of `valid` convolutions sees around each pixel of its map all that decides it, so the pieces fit
together as if the photo had gone through in one. They must start where the network's pooling does, though:
at multiples of what it divides by.
"""

from collections.abc import Callable

import numpy as np

from carvana.data.padding import SizeSpec

_SIDE = 800
"""About the largest side of a tile's map: one of 64 filters takes 0.2 GB."""


def tile_starts(side: int, size_spec: SizeSpec, largest: int = _SIDE) -> tuple[int, list[int]]:
    """Cover a side of a network's map with tiles that are equally large.

    Args:
        side: of the map, in pixels; one that the size_spec fits.
        size_spec: of the network.
        largest: about the largest side of a tile.

    Returns:
        A tile's side, and the pixel at which each tile starts; the last one may overlap the one before it.
    """
    steps, tiles = side // size_spec.multiple, -(-side // largest)
    each = -(-steps // tiles)
    starts = sorted({min(number * each, steps - each) * size_spec.multiple for number in range(tiles)})
    return each * size_spec.multiple + size_spec.remainder, starts


def predict_tiled(
    ask: Callable[[np.ndarray], np.ndarray], photos: np.ndarray, size_spec: SizeSpec, largest: int = _SIDE
) -> np.ndarray:
    """Ask a network for the maps of large photos, tile by tile.

    Args:
        ask: from photos (n, height, width, 3) to maps (n, ..., height - 2 margin, width - 2 margin).
        photos: padded to an input's size, uint8, 0..255.
        size_spec: of the network, which has a margin.
        largest: about the largest side of a tile's map.

    Returns:
        The maps of the whole photos, (n, ..., height - 2 margin, width - 2 margin).
    """
    height, width = (side - 2 * size_spec.margin for side in photos.shape[1:3])
    (tile_height, tops), (tile_width, lefts) = (
        tile_starts(side, size_spec, largest) for side in (height, width)
    )
    maps = None
    for top in tops:
        for left in lefts:
            below, right = top + tile_height, left + tile_width
            tile = ask(photos[:, top : below + 2 * size_spec.margin, left : right + 2 * size_spec.margin])
            if maps is None:
                maps = np.empty((*tile.shape[:-2], height, width), np.float32)
            maps[..., top:below, left:right] = tile
    return maps
