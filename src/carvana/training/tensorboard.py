"""Logs for TensorBoard, written without TensorFlow: other backends have none."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

_SCALARS = ("loss", "dice", "rate", "loader_per_s", "step_per_s")


class Log:
    """What TensorBoard shows of a run: `tensorboard --logdir runs`."""

    def __init__(self, folder: Path) -> None:
        """Write to a file of its own in `folder`; TensorBoard joins those of a training that was cut off."""
        self._writer = EventFileWriter(str(folder))

    def epoch(self, row: Mapping[str, float], overlays: Sequence[np.ndarray]) -> None:
        """Log an epoch's row of the history, and photos (height, width, 3), uint8, RGB."""
        values = [Summary.Value(tag=name, simple_value=row[name]) for name in _SCALARS]
        values += [
            Summary.Value(tag=f"held_out/{number}", image=_image(overlay))
            for number, overlay in enumerate(overlays)
        ]
        self._writer.add_event(Event(step=row["epoch"], summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()


def _image(photo: np.ndarray) -> Summary.Image:
    _, encoded = cv2.imencode(".png", photo[..., ::-1])
    height, width, channels = photo.shape
    return Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=encoded.tobytes()
    )
