"""Batches of photos and masks at a stage's size."""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from carvana.data import images
from carvana.data.augmentation import Augmenter
from carvana.data.cache import DiskCache
from carvana.data.dataset import Sample
from carvana.data.padding import SizeSpec, pad
from carvana.data.prefetch import prefetch
from carvana.data.timing import Throughput
from carvana.recipe import Augmentation

_AHEAD = 8
"""Batches prepared before the network asks for them."""

_BYTES_A_PIXEL = 4
"""Three of the photo and one of its mask."""


class ResizedSamples:
    """Photos and their masks at one size, kept in memory after the first read where they all fit."""

    def __init__(
        self,
        photos: Sequence[Sample],
        size: tuple[int, int],
        *,
        larger: "ResizedSamples | None" = None,
        cache: DiskCache | None = None,
        memory: int | None = None,
    ) -> None:
        """Take `photos` at a size.

        Args:
            photos: with their masks.
            size: (height, width) in pixels.
            larger: the same photos at a larger size. Where it keeps them, they are shrunk from there: a mask's
                decoding takes longer than a training step on a small photo.
            cache: where they are looked for before they are decoded, and kept after.
            memory: bytes that may be kept; by default a quarter of the machine's memory.
        """
        self.photos = photos
        self.size = size
        needed = len(photos) * size[0] * size[1] * _BYTES_A_PIXEL
        self._cache = cache
        self._larger = larger if larger is not None and larger.keeps else None
        self.keeps = needed <= (_quarter_of_memory() if memory is None else memory)
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The photo (height, width, 3) and the share of each pixel that is car (height, width); uint8."""
        if index in self._kept:
            return self._kept[index]
        pair = self._read(index)
        if self.keeps:
            self._kept[index] = pair
        return pair

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self._larger is not None:
            photo, mask = self._larger[index]
            return images.resize(photo, self.size), images.resize(mask, self.size)
        photo = self.photos[index]
        pair = self._cache.get(photo, self.size) if self._cache else None
        if pair is None:
            mask = images.mask_coverage(images.read_mask(photo.mask), self.size)
            pair = images.read_photo(photo.path, self.size), mask
            if self._cache:
                self._cache.put(photo, self.size, pair)
        return pair


@dataclass(frozen=True)
class Batches:
    """Epochs of batches; what an epoch holds depends on the seed and its number alone."""

    photos: ResizedSamples
    batch: int
    size_spec: SizeSpec
    """Of the network: photos are padded to its input's size, masks to its map's."""
    augmentation: Augmentation
    seed: int
    throughput: Throughput = field(default_factory=Throughput, compare=False)
    """How fast the threads prepare photos."""

    def __len__(self) -> int:
        """Batches an epoch. The last is filled up with the first one's photos: each shape takes a compilation."""
        return -(-len(self.photos) // self.batch)

    def epoch(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (photos, masks) of an epoch, shuffled and augmented, prepared in threads.

        Photos are (n, height, width, 3) uint8, 0..255; masks (n, height, width, 1) float32, 0..1, smaller
        where the network's map is.
        """
        sizes = self.size_spec.input_size(self.photos.size), self.size_spec.map_size(self.photos.size)
        order, seeds = self._order(number)
        own = threading.local()

        def prepare(step: int) -> tuple[np.ndarray, np.ndarray]:
            if not hasattr(own, "augment"):
                own.augment = Augmenter(self.augmentation)
            with self.throughput.work(self.batch):
                chosen = zip(order[step], seeds[step], strict=True)
                pairs = [own.augment(*self.photos[int(index)], int(seed)) for index, seed in chosen]
                photos = np.stack([pad(photo, sizes[0]) for photo, _ in pairs])
                masks = np.stack([pad(mask, sizes[1]) for _, mask in pairs])
                return photos, masks[..., None].astype(np.float32) / 255

        return prefetch(prepare, range(len(self)), ahead=_AHEAD)

    def names(self, number: int, step: int) -> list[str]:
        """The names of the photos in a batch of an epoch."""
        return [self.photos.photos[index].name for index in self._order(number)[0][step]]

    def _order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Of an epoch, each (steps, batch): which photos, and the seeds of their augmentation."""
        random = np.random.default_rng([self.seed, number])
        order = np.resize(random.permutation(len(self.photos)), (len(self), self.batch))
        return order, random.integers(2**31, size=order.shape)


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
