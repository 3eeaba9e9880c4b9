"""Data folders, and the messages for invalid ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carvana.data import images
from carvana.data.dataset import car_mask_areas, check_sizes, content_digest, test_samples, train_samples
from carvana.errors import UserError

test_samples.__test__ = False  # not a test: it lists the competition's test photos


def test_train_samples_have_their_masks(data: Path) -> None:
    photos = train_samples(data)
    assert len(photos) == 4 * 16
    assert photos[0].mask.name == photos[0].name.replace(".jpg", "_mask.gif")
    check_sizes(photos)


def test_test_samples_are_in_the_order_of_the_sample_submission(data: Path) -> None:
    sample = pd.read_csv(data / "sample_submission.csv")[::-1]
    sample.to_csv(data / "sample_submission.csv", index=False)
    assert [photo.name for photo in test_samples(data)] == sample["img"].tolist()


def test_mask_areas_equal_those_of_the_gifs(data: Path) -> None:
    areas = car_mask_areas(data)
    photos = [photo for photo in train_samples(data) if photo.car == areas.index[0]]
    assert areas.iloc[0] == np.mean([images.read_mask(photo.mask).sum() for photo in photos])


def test_photo_without_a_mask_is_refused(data: Path) -> None:
    photo = train_samples(data)[5]
    photo.mask.unlink()
    with pytest.raises(UserError, match=f"{photo.name}: has no mask"):
        train_samples(data)


def test_mask_without_a_photo_is_refused(data: Path) -> None:
    photo = train_samples(data)[5]
    photo.path.unlink()
    with pytest.raises(UserError, match=f"{photo.mask.name}: has no photo"):
        train_samples(data)


def test_mask_of_another_size_is_refused(data: Path) -> None:
    photo = train_samples(data)[5]
    Image.new("P", (90, 64)).save(photo.mask)
    with pytest.raises(UserError, match=f"{photo.mask.name}: is 90x64, its photo 96x64"):
        check_sizes(train_samples(data))


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no photos"):
        train_samples(tmp_path)


def test_mask_of_an_unlabelled_photo_is_refused(rendered: Path) -> None:
    with pytest.raises(UserError, match="has no mask"):
        test_samples(rendered)[0].read_mask()


def test_missing_test_photo_is_refused(data: Path) -> None:
    photo = test_samples(data)[3]
    photo.path.unlink()
    with pytest.raises(UserError, match=f"{photo.name}: missing"):
        test_samples(data)


def test_the_fetched_order_of_a_submission_alone_leads_to_the_download(tmp_path: Path) -> None:
    (tmp_path / "sample_submission.csv").write_text("img,rle_mask\n")
    with pytest.raises(UserError, match=r"prepare --source kaggle .* downloads what the folder lacks"):
        train_samples(tmp_path)


def test_photo_without_a_row_in_train_masks_csv_is_refused(data: Path) -> None:
    masks = pd.read_csv(data / "train_masks.csv")
    masks[1:].to_csv(data / "train_masks.csv", index=False)
    with pytest.raises(UserError, match=f"has no row for {masks['img'][0]}"):
        car_mask_areas(data)


@pytest.mark.parametrize("mask", ["1 2 3", "100 9223372036854775806", "many"])
def test_a_malformed_mask_in_train_masks_csv_is_named(data: Path, mask: str) -> None:
    masks = pd.read_csv(data / "train_masks.csv")
    masks.loc[7, "rle_mask"] = mask
    masks.to_csv(data / "train_masks.csv", index=False)
    with pytest.raises(UserError, match=rf"train_masks\.csv: {masks['img'][7]}: run"):
        car_mask_areas(data)


def test_a_photo_that_a_table_lists_twice_is_refused(data: Path) -> None:
    for name in ("train_masks.csv", "sample_submission.csv"):
        table = pd.read_csv(data / name, dtype=str, keep_default_na=False)
        pd.concat([table, table[3:5]]).to_csv(data / name, index=False)
        with pytest.raises(UserError, match=rf"{name}: has {table['img'][3]} more than once \(2 duplicate"):
            _ = car_mask_areas(data) if name == "train_masks.csv" else test_samples(data)


def test_tables_without_rows_are_refused(data: Path) -> None:
    for name in ("train_masks.csv", "sample_submission.csv"):
        (data / name).write_text("img,rle_mask\n")
        with pytest.raises(UserError, match=f"{name}: lists no photos"):
            _ = car_mask_areas(data) if name == "train_masks.csv" else test_samples(data)


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_the_digest_depends_on_names_sizes_and_content(tmp_path: Path, size: int) -> None:
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for path in paths:
        path.write_bytes(bytes(size))
    digests = [content_digest(paths), content_digest(paths[::-1]), content_digest(paths[:1])]
    for changed in (b"1" + bytes(size - 1), bytes(size - 1) + b"1", bytes(size + 1), b""):
        paths[1].write_bytes(changed)
        digests.append(content_digest(paths))
    assert len(set(digests)) == len(digests)
    paths[1].write_bytes(bytes(size))
    assert content_digest(paths) == digests[0]
