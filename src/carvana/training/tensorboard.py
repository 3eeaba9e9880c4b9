"""Logs for TensorBoard, written without TensorFlow, so that other backends have them, too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

_SCALARS = ("loss", "dice", "learning_rate", "loader_per_s", "step_per_s")


class TensorBoardLog:
    """Log of a run, shown by `tensorboard --logdir runs`."""

    def __init__(self, folder: Path) -> None:
        """Open a new file in `folder`; TensorBoard shows all files of a folder as one log."""
        self._writer = EventFileWriter(str(folder))

    def write_epoch(self, row: Mapping[str, float], overlays: Sequence[np.ndarray]) -> None:
        """Log one epoch.

        Args:
            row: the epoch's row of the history.
            overlays: validation photos (height, width, 3), uint8, RGB, with the edges of mask and truth.
        """
        values = [Summary.Value(tag=name, simple_value=row[name]) for name in _SCALARS]
        values += [
            Summary.Value(tag=f"validation/{number}", image=_image(overlay))
            for number, overlay in enumerate(overlays)
        ]
        self._writer.add_event(Event(step=int(row["epoch"]), summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def _image(photo: np.ndarray) -> Summary.Image:
    _, encoded = cv2.imencode(".png", photo[..., ::-1])
    height, width, channels = photo.shape
    return Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=encoded.tobytes()
    )
