"""Batches of photos and masks."""

from pathlib import Path

import numpy as np
import pytest

from carvana.data import images
from carvana.data.batches import Batches, ResizedSamples
from carvana.data.dataset import train_samples
from carvana.data.padding import SizeSpec, crop
from carvana.recipe import Augmentation


def _batches(data: Path, **changes: object) -> Batches:
    samples = ResizedSamples(train_samples(data)[:10], (40, 60))
    options = {
        "batch_size": 4,
        "size_spec": SizeSpec(16),
        "augmentation": Augmentation(flip=0.5),
        "seed": 0,
    } | changes
    return Batches(samples, **options)


def test_epoch_contains_each_photo_padded_to_a_valid_size(rendered: Path) -> None:
    batches = _batches(rendered, augmentation=Augmentation())
    epoch = list(batches.epoch(0))
    assert [photos.shape for photos, _ in epoch] == [(4, 48, 64, 3)] * 3
    assert len(batches) == 3
    contents = [photo.tobytes() for photos, _ in epoch for photo in photos]
    assert len(set(contents)) == 10
    assert contents[10:] == contents[:2]  # the last batch is filled up


def test_names_are_those_of_the_batchs_photos(rendered: Path) -> None:
    batches = _batches(rendered, augmentation=Augmentation())
    by_name = {photo.name: images.read_photo(photo.path, (40, 60)) for photo in train_samples(rendered)[:10]}
    for step, (photos, _) in enumerate(batches.epoch(3)):
        names = batches.names(3, step)
        assert all(
            np.array_equal(crop(one, (40, 60)), by_name[name])
            for one, name in zip(photos, names, strict=True)
        )
    assert batches.throughput.rate() > 0


def test_masks_are_float_coverage_aligned_with_their_photos(rendered: Path) -> None:
    photo = train_samples(rendered)[0]
    (photos, masks), *_ = Batches(
        ResizedSamples([photo], (64, 96)), 1, SizeSpec(16), Augmentation(), 0
    ).epoch(0)
    assert photos.dtype == np.uint8
    assert masks.dtype == np.float32
    assert np.array_equal(photos[0], images.read_photo(photo.path))
    assert np.array_equal(masks[0, ..., 0], images.read_mask(photo.mask))


def test_photos_exceed_masks_by_the_networks_margin(rendered: Path) -> None:
    photo, size_spec = train_samples(rendered)[0], SizeSpec(16, 4, 20)
    (photos, masks), *_ = Batches(ResizedSamples([photo], (64, 96)), 1, size_spec, Augmentation(), 0).epoch(0)
    assert photos.shape == (1, 68 + 40, 100 + 40, 3)
    assert masks.shape == (1, 68, 100, 1)
    assert np.array_equal(crop(photos[0], (64, 96)), images.read_photo(photo.path))
    assert np.array_equal(crop(masks[0, ..., 0], (64, 96)), images.read_mask(photo.mask))


def test_epoch_depends_only_on_seed_and_number(rendered: Path) -> None:
    first, again = _batches(rendered), _batches(rendered)
    list(again.epoch(0))
    assert _bytes(first, 1) == _bytes(again, 1)
    assert _bytes(first, 1) != _bytes(first, 2)
    assert _bytes(first, 1) != _bytes(_batches(rendered, seed=1), 1)


def test_photos_are_kept_in_memory_only_if_all_fit(rendered: Path) -> None:
    photos = train_samples(rendered)[:2]
    kept, read_again = ResizedSamples(photos, (32, 48)), ResizedSamples(photos, (32, 48), memory_limit=0)
    assert kept[1] is kept[1]
    assert read_again[1] is not read_again[1]
    assert np.array_equal(kept[1][0], read_again[1][0])


def test_smaller_size_is_resized_from_the_larger_one_in_memory(rendered: Path) -> None:
    photos = train_samples(rendered)[:2]
    smaller = ResizedSamples(photos, (32, 48), larger=ResizedSamples(photos, (64, 96)))
    photo, mask = smaller[0]
    assert (photo.shape, mask.shape) == ((32, 48, 3), (32, 48))
    direct, _ = ResizedSamples(photos, (32, 48))[0]
    assert np.abs(photo.astype(int) - direct).mean() < 3


def _bytes(batches: Batches, number: int) -> list[bytes]:
    return [photos.tobytes() + masks.tobytes() for photos, masks in batches.epoch(number)]


def test_damaged_photo_ends_the_epoch_with_an_error(data: Path) -> None:
    photo = train_samples(data)[3]
    photo.path.write_bytes(photo.path.read_bytes()[:800])
    with pytest.raises(Exception, match=f"{photo.name}: not a whole JPEG"):
        list(_batches(data).epoch(0))
