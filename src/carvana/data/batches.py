"""Batches of photos and masks at a stage's size."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from carvana.data import images
from carvana.data.augmentation import Augmenter
from carvana.data.cache import DiskCache, Pair
from carvana.data.dataset import Sample
from carvana.data.padding import SizeSpec, pad
from carvana.data.prefetch import prefetch
from carvana.data.timing import Throughput
from carvana.machine import memory_bytes
from carvana.recipe import Augmentation

_PREFETCH = 8
"""Batches that are prepared in advance."""

_BYTES_PER_PIXEL = 4
"""3 of the photo and 1 of its mask."""


class Samples(Protocol):
    """Photos, or patches of photos, with their masks at one size."""

    size: tuple[int, int]
    """(height, width) in pixels."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The photo of each sample."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Pair:
        """Return pixels (height, width, 3) and a mask (height, width[, channels]), both uint8, 0..255."""


class ResizedSamples:
    """Photos and their masks at one size, kept in memory after the first read if all of them fit."""

    def __init__(
        self,
        samples: Sequence[Sample],
        size: tuple[int, int],
        *,
        larger: "ResizedSamples | None" = None,
        cache: DiskCache | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Create the samples; nothing is read yet.

        Args:
            samples: labelled photos.
            size: (height, width) in pixels.
            larger: the same samples at a larger size. If these are in memory, they are resized instead of the files,
                because decoding a mask takes longer than a training step on a small photo.
            cache: resized samples on disk, which are used before the files are decoded.
            memory_limit: bytes that may be kept in memory; by default a quarter of the machine's memory.
        """
        self.samples: Sequence[Sample] = samples
        self.size = size
        needed = len(samples) * size[0] * size[1] * _BYTES_PER_PIXEL
        self.fits_memory: bool = needed <= (memory_bytes() // 4 if memory_limit is None else memory_limit)
        self._cache = cache
        self._larger = larger if larger is not None and larger.fits_memory else None
        self._in_memory: dict[int, Pair] = {}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        """Return the photo (height, width, 3) and its mask's coverage of each pixel (height, width), both uint8."""
        if index in self._in_memory:
            return self._in_memory[index]
        pair = self._read(index)
        if self.fits_memory:
            self._in_memory[index] = pair
        return pair

    def _read(self, index: int) -> Pair:
        if self._larger is not None:
            photo, mask = self._larger[index]
            return images.resize(photo, self.size), images.resize(mask, self.size)
        sample = self.samples[index]
        pair = self._cache.get(sample, self.size) if self._cache else None
        if pair is None:
            mask = images.mask_coverage(sample.read_mask(), self.size)
            pair = images.read_photo(sample.path, self.size), mask
            if self._cache:
                self._cache.put(sample, self.size, pair)
        return pair


@dataclass(frozen=True)
class Batches:
    """Batches of each epoch; the seed and the epoch's number determine its order and augmentation."""

    samples: Samples
    batch_size: int
    size_spec: SizeSpec
    """Valid sizes of the network: photos are padded to those of its input, masks to those of its map."""
    augmentation: Augmentation
    seed: int
    throughput: Throughput = field(default_factory=Throughput, compare=False)
    """Throughput of the threads that prepare photos."""

    def __len__(self) -> int:
        """Return the batches per epoch.

        The last one is filled up with photos of the first, because each new shape costs a compilation.
        """
        return -(-len(self.samples) // self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches (photos, masks) of an epoch, shuffled and augmented, prepared in threads.

        Photos are (n, height, width, 3), uint8, 0..255; masks (n, height, width, 1), float32, 0..1, in the size of
        the network's map.
        """
        input_size = self.size_spec.input_size(self.samples.size)
        map_size = self.size_spec.map_size(self.samples.size)
        order, seeds = self._order(number)
        thread_local = threading.local()

        def prepare(step: int) -> tuple[np.ndarray, np.ndarray]:
            if not hasattr(thread_local, "augmenter"):
                thread_local.augmenter = Augmenter(self.augmentation)
            with self.throughput.work(self.batch_size):
                pairs = [
                    thread_local.augmenter(*self.samples[int(index)], int(seed))
                    for index, seed in zip(order[step], seeds[step], strict=True)
                ]
                photos = np.stack([pad(photo, input_size) for photo, _ in pairs])
                masks = np.stack([pad(mask, map_size) for _, mask in pairs])
                return photos, masks[..., None].astype(np.float32) / 255

        return prefetch(prepare, range(len(self)), ahead=_PREFETCH)

    def names(self, number: int, step: int) -> list[str]:
        """Return the names of the photos in a batch of an epoch."""
        return [self.samples.samples[index].name for index in self._order(number)[0][step]]

    def _order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an epoch's indices of samples and seeds of augmentation, each (steps, batch_size)."""
        rng = np.random.default_rng([self.seed, number])
        order = np.resize(rng.permutation(len(self.samples)), (len(self), self.batch_size))
        return order, rng.integers(2**31, size=order.shape)
