"""Logs for TensorBoard, written without TensorFlow, so that other backends have them, too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from carvana.files import atomic_path
from carvana.training.loggers import SCALARS


class TensorBoardLogger:
    """Logger of a run, whose logs `tensorboard --logdir runs` shows.

    Each epoch has a file of its own, so that an epoch that is trained again replaces its log. TensorBoard shows all
    files of a folder as one log.
    """

    def __init__(self, folder: Path) -> None:
        """Initialize with the run's folder of logs."""
        self._folder = folder

    def log_epoch(self, row: Mapping[str, float], overlays: Sequence[np.ndarray]) -> None:
        """Write the epoch's file; see `Logger`."""
        epoch = int(row["epoch"])
        values = [Summary.Value(tag=name, simple_value=row[name]) for name in SCALARS if name in row]
        values += [
            Summary.Value(tag=f"validation/{number}", image=_image(overlay))
            for number, overlay in enumerate(overlays)
        ]
        path = self._folder / f"events.out.tfevents.{epoch:06d}"
        with atomic_path(path) as part, open(part, "wb") as file:
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
