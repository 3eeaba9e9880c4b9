"""Networks computed by OpenVINO on a processor.

A Keras network is converted once: through ONNX to OpenVINO's own format, in a folder beside the network's file.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
from openvino import AsyncInferQueue, InferRequest, Model

from carvana import console
from carvana.backend import keras
from carvana.data.prefetch import CORES
from carvana.errors import UserError
from carvana.files import delete, sha256_of_file
from carvana.inference.config import EnginePrecision, quantized_file
from carvana.inference.engines import MAX_PIXELS
from carvana.inference.export import load_float32, write_onnx
from carvana.inference.openvino_files import core, read_network, write_network
from carvana.locks import file_lock
from carvana.recipe import Recipe

_REQUEST_PIXELS = 2**17
"""Pixels of the photos of a request, unless a single photo has more: 32 patches of 64x64.

The feature maps of larger requests do not fit into a core's cache.
"""

_MAX_SHAPES = 8
"""Shapes of photos for which compiled networks are kept."""


class _Compiled(NamedTuple):
    """Networks that are compiled for one shape of photos."""

    request_size: int
    """Photos per request."""
    queues: list[AsyncInferQueue]
    """A queue of requests for each network."""


class OpenVinoEngine:
    """Networks that OpenVINO computes one after the other, each for one photo per core at the same time."""

    def __init__(
        self, networks: Sequence[Model], *, flip: bool, precision: EnginePrecision, per_fold: bool = False
    ) -> None:
        """Initialize the engine. Networks are compiled when they first predict photos of a shape.

        Args:
            networks: one per fold, as `load_network` returns them.
            flip: average each network's map over the photo and its mirror image.
            precision: precision of the computation.
            per_fold: also return each network's own map.
        """
        self._networks, self._flip, self._per_fold = networks, flip, per_fold
        self._hint = _precision_hint(precision)
        self._compiled = lru_cache(_MAX_SHAPES)(self._compile)

    @property
    def any_size(self) -> bool:
        """True if the networks accept photos of any size."""
        return bool(self._networks[0].input(0).partial_shape[1].is_dynamic)

    def predict(self, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict a batch, as `Engine.predict` says."""
        views = np.concatenate([photos, photos[:, :, ::-1]]) if self._flip else photos
        compiled = self._compiled(photos.shape[1:])
        maps = [_run(queue, compiled.request_size, views) for queue in compiled.queues]
        if self._flip:
            maps = [(one[: len(photos)] + one[len(photos) :, :, ::-1]) / 2 for one in maps]
        own = np.stack(maps, axis=1)
        means, sums = zip(*map(_mean_and_sums, own), strict=True)
        mean = np.stack(means)[:, None]
        returned = np.concatenate([mean, own], axis=1) if self._per_fold else mean
        return returned, np.array(sums, np.float32)

    def _compile(self, shape: tuple[int, int, int]) -> _Compiled:
        """Compile the networks for photos (height, width, channels)."""
        pixels = shape[0] * shape[1]
        request_size = max(1, _REQUEST_PIXELS // pixels)
        n_streams = max(1, min(CORES, MAX_PIXELS // (request_size * pixels)))
        options = {
            "INFERENCE_PRECISION_HINT": self._hint,
            "NUM_STREAMS": n_streams,
            "INFERENCE_NUM_THREADS": CORES,
            "ENABLE_CPU_PINNING": False,  # decoding and masks use the same cores
        }
        queues = []
        for network in self._networks:
            of_shape = network.clone()
            of_shape.reshape([request_size, *shape])
            # Twice as many requests as streams: while some results are copied, others are computed.
            queue = AsyncInferQueue(core().compile_model(of_shape, "CPU", options), 2 * n_streams)
            queue.set_callback(_copy_output)
            queues.append(queue)
        return _Compiled(request_size, queues)


def load_network(path: Path, recipe: Recipe, build_model: Callable[[Recipe], keras.Model]) -> Model:
    """Load a Keras network as a network of OpenVINO. It is converted where that was not done before.

    Args:
        path: the file of the Keras network.
        recipe: the network's recipe.
        build_model: builds an untrained network of the recipe: `build` or `build_refiner`.

    Returns:
        A network that maps photos (n, height, width, channels), uint8, to probabilities (n, height, width), float32,
        0..1.

    Raises:
        UserError: the file is missing or is not a complete Keras model, Keras runs on another backend than
            TensorFlow, or the folder beside the file cannot be written.
    """
    folder = path.with_name(f"{path.stem}-openvino-{sha256_of_file(path)[:12]}")
    network = read_network(folder)
    if network is not None:
        return network
    with file_lock(folder.with_name(f".{folder.name}.lock"), console):
        network = read_network(folder)  # another process may have converted it meanwhile
        if network is None:
            network = _convert(load_float32(path, recipe, build_model))
            delete(folder)  # it may be damaged
            write_network(network, folder)
    return network


def load_quantized(path: Path) -> Model | None:
    """Load the INT8 form of a Keras network; None if `carvana.training.quantization` made none of it.

    Raises:
        UserError: a file of it was changed.
    """
    folder = quantized_file(path).parent
    network = read_network(folder)
    if network is None and folder.exists():
        raise UserError(
            f"{folder}: damaged; delete it, and `./run.sh benchmark engines --int8` makes it again"
        )
    return network


def supported_precisions() -> list[EnginePrecision]:
    """Return the precisions that this processor has instructions for."""
    capabilities = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names: dict[str, EnginePrecision] = {"FP32": "float32", "BF16": "bfloat16", "INT8": "int8"}
    return [precision for name, precision in names.items() if name in capabilities]


def _precision_hint(precision: EnginePrecision) -> str:
    """Return OpenVINO's name of a precision; layers that are not quantised are in bfloat16 if that is supported."""
    if precision == "float32" or "bfloat16" not in supported_precisions():
        return "f32"
    return "bf16"


def _convert(network: keras.Model) -> Model:
    """Convert a Keras network in float32 to OpenVINO, with an input of uint8 and an output without channels."""
    photo = keras.Input(network.input_shape[1:], name="photo", dtype="uint8")
    probability = network(keras.ops.cast(photo, "float32"))[..., 0]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_onnx(keras.Model(photo, probability), path)
        return core().read_model(path.read_bytes())


def _run(queue: AsyncInferQueue, request_size: int, photos: np.ndarray) -> np.ndarray:
    """Return the maps (n, height, width) of photos by one network; the last request is filled up with zeros."""
    maps = np.empty(photos.shape[:3], np.float32)
    for first in range(0, len(photos), request_size):
        request = photos[first : first + request_size]
        missing = request_size - len(request)
        if missing:
            request = np.concatenate([request, np.zeros((missing, *photos.shape[1:]), np.uint8)])
        queue.start_async(request, maps[first : first + request_size])
    queue.wait_all()
    return maps


def _copy_output(request: InferRequest, maps: np.ndarray) -> None:
    """Copy the output of a finished request to the array (n, height, width) that it was started with."""
    maps[:] = request.get_output_tensor().data[: len(maps)]


def _mean_and_sums(maps: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the mean (h, w) of the networks' maps (networks, h, w) of a photo, and its `sums` as `merge_models`."""
    if len(maps) == 1:
        return maps[0], (0.0, float(maps[0].sum()))
    mean = maps.mean(axis=0)
    variance = np.zeros_like(mean)
    for one in maps:
        cv2.accumulateSquare(one - mean, variance)
    return mean, (float(np.sqrt(variance / len(maps)).sum()), float(mean.sum()))
