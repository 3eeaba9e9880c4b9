"""Masks of photos from exported networks, with NumPy, OpenCV and ONNX Runtime only.

`export` copies this file beside the networks that it writes: RECIPE.onnx, RECIPE.py and, if the recipe refines,
RECIPE-refiner.onnx. The file imports nothing of the project. The project's own pipeline uses the same functions to
place, cut and paste patches.

    python RECIPE.py photos/*.jpg --png masks         # masks/NAME.png, 0 and 255
    python RECIPE.py photos/*.jpg --csv masks.csv     # rows `img,rle_mask`, as in a submission

    pipeline = Pipeline(Path("RECIPE.onnx"))
    mask = pipeline.predict(photo)                    # bool (height, width) of an RGB photo, uint8
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

_CONTOUR_LEVEL = 0.5
"""Probability whose contour is refined."""

_CHUNK = 256
"""Patches that go through the refinement network at once; more would only need more memory."""


class Pipeline:
    """Exported networks, and the way from a photo to its mask."""

    def __init__(self, coarse: Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        """Load the networks.

        Args:
            coarse: RECIPE.onnx; RECIPE-refiner.onnx is expected beside it if the recipe refines.
            providers: execution providers of ONNX Runtime, in order of preference.
        """
        import onnxruntime  # not installed where the project only trains and predicts

        self._coarse = onnxruntime.InferenceSession(coarse, providers=list(providers))
        metadata = self._coarse.get_modelmeta().custom_metadata_map
        self.threshold = float(metadata["threshold"])
        """Pixels whose probability is above it are car."""
        _, self._height, self._width, _ = self._coarse.get_inputs()[0].shape
        self._refine = json.loads(
            metadata["refine"]
        )  # size, patch and spacing in pixels; None without a refiner
        if self._refine:
            refiner = coarse.with_name(f"{coarse.stem}-refiner.onnx")
            self._refiner = onnxruntime.InferenceSession(refiner, providers=list(providers))

    def predict(self, photo: np.ndarray) -> np.ndarray:
        """Return the mask, bool (height, width), of a photo (height, width, 3), uint8, RGB."""
        return resize_map(self.probabilities(photo), photo.shape[:2]) > self.threshold

    def probabilities(self, photo: np.ndarray) -> np.ndarray:
        """Return the probability map of a photo (height, width, 3), uint8, RGB.

        Returns:
            (h, w), float32, 0..1, at the size of the recipe's `refine`, or of the first network without refinement.
        """
        resized = _resize_photo(photo, (self._height, self._width))
        coarse = self._coarse.run(["probability"], {"photo": resized[None]})[0][0]
        if self._refine is None:
            return coarse
        height, width = self._refine["size"]
        corners = patch_corners(coarse, (height, width), self._refine["patch"], self._refine["spacing"])
        patches = cut_patches(_resize_photo(photo, (height, width)), coarse, corners, self._refine["patch"])
        refined = resize_map(coarse, (height, width))
        if len(corners):
            paste(refined, corners, self._refine_patches(patches))
        return refined

    def _refine_patches(self, patches: np.ndarray) -> np.ndarray:
        """Return probabilities (n, patch, patch), float32, 0..1, of patches (n, patch, patch, 4), uint8."""
        chunks = [patches[first : first + _CHUNK] for first in range(0, len(patches), _CHUNK)]
        return np.concatenate([self._refiner.run(["probability"], {"patches": one})[0] for one in chunks])


def patch_corners(probabilities: np.ndarray, size: tuple[int, int], patch: int, spacing: int) -> np.ndarray:
    """Place patches along the contours of a map.

    Walking along each contour, a patch is centred on every point that is at least `spacing` pixels, in row or
    column, from all centres before it. So there is at most one patch per square of that side, and each point of the
    contour lies within a patch. Where the car leaves the photo there is no contour. Patches that would leave the
    photo are moved inside.

    Args:
        probabilities: (h, w), float32, 0..1, of any resolution.
        size: (height, width) of the photo, which is at least a patch.
        patch: side of a patch in pixels of `size`.
        spacing: smallest distance of two patches in pixels of `size`, at most half of `patch`.

    Returns:
        (n, 2), int64: row and column of the patches' top left pixels at `size`.
    """
    height, width = probabilities.shape
    car = (probabilities > _CONTOUR_LEVEL).view(np.uint8)
    eroded = cv2.erode(car, np.ones((3, 3), np.uint8))  # outside the photo counts as car
    on_contour = car > eroded
    contours, _ = cv2.findContours(car, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.empty((0, 2), np.int64)
    points = np.concatenate(contours)[:, 0, ::-1]
    points = points[on_contour[points[:, 0], points[:, 1]]]
    scale = np.array([size[0] / height, size[1] / width])
    reach = np.maximum(np.ceil(spacing / scale).astype(int) - 1, 0)
    covered = np.zeros((height, width), bool)
    centres = []
    for row, column in points.tolist():
        if not covered[row, column]:
            centres.append((row, column))
            top, left = max(0, row - reach[0]), max(0, column - reach[1])
            covered[top : row + reach[0] + 1, left : column + reach[1] + 1] = True
    middle = (np.array(centres).reshape(-1, 2) + 0.5) * scale - patch / 2
    return np.clip(np.rint(middle).astype(np.int64), 0, np.array(size) - patch)


def cut_patches(photo: np.ndarray, probabilities: np.ndarray, corners: np.ndarray, patch: int) -> np.ndarray:
    """Cut the inputs of the refinement network.

    Args:
        photo: (height, width, 3), uint8, RGB.
        probabilities: (h, w), float32, 0..1; it is resized to the photo's size.
        corners: (n, 2), as `patch_corners` returns them for the photo's size.
        patch: side of a patch.

    Returns:
        (n, patch, patch, 4), uint8, 0..255: the photo, and the probability as a level 0..255.
    """
    levels = cv2.convertScaleAbs(resize_map(probabilities, photo.shape[:2]), alpha=255)
    patches = np.empty((len(corners), patch, patch, photo.shape[2] + 1), np.uint8)
    for number, (row, column) in enumerate(corners.tolist()):
        window = slice(row, row + patch), slice(column, column + patch)
        patches[number, ..., :3] = photo[window]
        patches[number, ..., 3] = levels[window]
    return patches


def paste(
    probabilities: np.ndarray,
    corners: np.ndarray,
    patches: np.ndarray,
    unrefined: np.ndarray | None = None,
) -> None:
    """Replace a map by refined patches where there are any.

    Where patches overlap, their mean is weighted by a pyramid that is highest at the middle of a patch.

    Args:
        probabilities: (height, width), float32, 0..1, which is changed in place.
        corners: (n, 2), as `patch_corners` returns them for the map's size.
        patches: (n, patch, patch), float32, 0..1.
        unrefined: (height, width), a map that is added to the patches: the weighted sum of the predictors of an
            ensemble that do not refine.
    """
    weights = _pyramid(patches.shape[1])
    weighted_sum, weight_sum = np.zeros_like(probabilities), np.zeros_like(probabilities)
    side = len(weights)
    windows = [(slice(row, row + side), slice(column, column + side)) for row, column in corners.tolist()]
    for window, one in zip(windows, patches, strict=True):
        weighted_sum[window] += weights * one
        weight_sum[window] += weights
    for window in windows:
        mean = weighted_sum[window] / weight_sum[window]
        probabilities[window] = mean + (0 if unrefined is None else unrefined[window])


def resize_map(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map (h, w) to `size` (height, width) by bilinear interpolation; the result is a new array."""
    return cv2.resize(probabilities, size[::-1], interpolation=cv2.INTER_LINEAR)


def main(networks: Path) -> None:
    """Write masks of photos, as the arguments of the command line say, with the networks of `networks`."""
    parser = argparse.ArgumentParser(description="Find the car in photos, pixel by pixel.")
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="JPEG, PNG or another image")
    output = parser.add_mutually_exclusive_group(required=True)
    output.add_argument("--png", type=Path, metavar="FOLDER", help="write FOLDER/NAME.png, black and white")
    output.add_argument("--csv", type=Path, metavar="FILE", help="write rows of photo and run-length mask")
    arguments = parser.parse_args()
    pipeline = Pipeline(networks)
    masks = ((path, pipeline.predict(_read_photo(path))) for path in arguments.photos)
    if arguments.png:
        files = _png_files(arguments.photos, arguments.png)
        for file, (_, mask) in zip(files, masks, strict=True):
            if not cv2.imwrite(str(file), mask.view(np.uint8) * 255):
                sys.exit(f"{file}: cannot be written")
    else:
        with open(arguments.csv, "w", newline="") as table:
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(["img", "rle_mask"])
            writer.writerows((path.name, _encode_rle(mask)) for path, mask in masks)


def _png_files(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Create the folder and return a file in it for each photo; ends the script if one would be overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{path.stem}.png" for path in photos]
    overwritten = {path.resolve() for path in photos} & {file.resolve() for file in files}
    if overwritten:
        sys.exit(f"{overwritten.pop()}: would be overwritten; choose another folder")
    if len(set(files)) < len(files):
        sys.exit("two photos have the same name without its ending; give one at a time")
    return files


def _read_photo(path: Path) -> np.ndarray:
    """Read a photo, rotated by its EXIF orientation: (height, width, 3), uint8, RGB."""
    data = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    photo = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size and not _is_cut_off(data.tobytes()) else None
    if photo is None:
        sys.exit(f"{path}: missing, cut off, or not an image that OpenCV reads")
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


def _is_cut_off(data: bytes) -> bool:
    """Return whether a JPEG or PNG lacks its end, which OpenCV would fill with grey."""
    if data.startswith(b"\xff\xd8"):  # the last scan is followed by the mark of the end
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    return data.startswith(b"\x89PNG") and b"IEND" not in data


def _resize_photo(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a photo to `size` (height, width): area means to shrink, bilinear to enlarge."""
    shrinks = photo.shape[0] >= size[0] and photo.shape[1] >= size[1]
    return cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _encode_rle(mask: np.ndarray) -> str:
    """Encode a bool mask as `start length start length ...`; pixels are numbered from 1, row by row."""
    edges = np.flatnonzero(np.diff(mask.ravel(), prepend=False, append=False)) + 1
    edges[1::2] -= edges[::2]
    return " ".join(map(str, edges.tolist()))


def _pyramid(side: int) -> np.ndarray:
    """Return the weights (side, side), float32, of a patch's pixels: the product of two triangles, above 0."""
    triangle = 1 - np.abs((np.arange(side, dtype=np.float32) + 0.5) * 2 / side - 1)
    return np.outer(triangle, triangle)


if __name__ == "__main__":
    main(Path(__file__).with_suffix(".onnx"))
