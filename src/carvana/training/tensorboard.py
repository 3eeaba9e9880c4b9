"""Logs for TensorBoard, written without TensorFlow, so that other backends have them, too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from carvana.files import atomic_path

_SCALARS = ("loss", "dice", "learning_rate", "loader_per_s", "step_per_s")


def write_epoch(folder: Path, row: Mapping[str, float], overlays: Sequence[np.ndarray]) -> None:
    """Log one epoch of a run, shown by `tensorboard --logdir runs`.

    Each epoch has a file of its own, so that an epoch that is trained again replaces its log. TensorBoard shows all
    files of a folder as one log.

    Args:
        folder: the run's folder of logs.
        row: the epoch's row of the history; without `dice` if no photos are held out.
        overlays: validation photos (height, width, 3), uint8, RGB, with the edges of mask and truth.
    """
    epoch = int(row["epoch"])
    values = [Summary.Value(tag=name, simple_value=row[name]) for name in _SCALARS if name in row]
    values += [
        Summary.Value(tag=f"validation/{number}", image=_image(overlay))
        for number, overlay in enumerate(overlays)
    ]
    with atomic_path(folder / f"events.out.tfevents.{epoch:06d}") as part, open(part, "wb") as file:
        records = RecordWriter(file)
        for event in (
            Event(file_version="brain.Event:2"),
            Event(step=epoch, summary=Summary(value=values)),
        ):
            records.write(event.SerializeToString())
        records.flush()


def _image(photo: np.ndarray) -> Summary.Image:
    _, encoded = cv2.imencode(".png", photo[..., ::-1])
    height, width, channels = photo.shape
    return Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=encoded.tobytes()
    )
