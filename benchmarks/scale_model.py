"""Model of prediction and training on many GPUs: the hours, and what limits the speed first.

    ./run.sh benchmark scale_model

The costs of distribution are measured: `benchmarks/cluster.py` writes them to `benchmarks/cluster.toml`. The speed of
a GPU is not measured: it is either published or assumed.
"""

import math
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from carvana.competition.names import ANGLES

TEST_PHOTOS = 6_254 * ANGLES
GPUS = (1, 8, 100)

PUBLISHED_PHOTOS_PER_S = TEST_PHOTOS / (180 * 3600)
"""Prediction on a GTX 1080 Ti with 5 folds and flips at full size: 180 card-hours (the competition's 4th place)."""

ASSUMED_PHOTOS_PER_S = 100.0
"""Prediction on a current GPU with a small network: an assumption."""

PUBLISHED_TRAINING_H = 2_140 / 49
"""GPU-hours of one training on a Titan X Pascal (the competition's 1st place)."""

TRAININGS = 20
"""Four recipes on five folds."""


@dataclass(frozen=True)
class Costs:
    """Measured costs of distribution, in seconds, bytes, and photos per second."""

    task_photos: int
    plain_photos_per_s: float
    """Photos per second of one core without a cluster."""
    one_worker_photos_per_s: float
    two_workers_photos_per_s: float
    task_overhead_s: float
    """Additional time of a task on a worker, compared with the run without a cluster."""
    start_s: float
    submit_s: float
    scheduler_s_per_task: float
    scheduler_share_per_worker: float
    """Share of the scheduler's core, 0..1, that one worker takes."""
    photo_bytes: float
    row_bytes: float
    storage_bytes_per_s: float
    writer_photos_per_s: float

    @classmethod
    def read(cls) -> "Costs":
        """Read what `benchmarks/cluster.py` wrote."""
        return cls(**tomllib.loads(Path(__file__).with_name("cluster.toml").read_text()))


@dataclass(frozen=True)
class Estimate:
    """Estimate of a prediction on a number of workers."""

    seconds: float
    photos_per_s: float
    """Speed while the workers predict."""
    limit: str
    """What limits the speed first when workers are added."""
    limit_workers: float
    """Number of workers at which it does."""


def estimate_prediction(
    costs: Costs, photos_per_s: float, workers: int, photos: int = TEST_PHOTOS
) -> Estimate:
    """Estimate a prediction: the start, the tasks, one per worker at a time, and the submission.

    Args:
        costs: as measured.
        photos_per_s: speed of one worker in the run without a cluster.
        workers: number of workers.
        photos: number of photos.
    """
    task_s = costs.task_photos / photos_per_s + costs.task_overhead_s
    worker_photos_per_s, tasks = costs.task_photos / task_s, math.ceil(photos / costs.task_photos)
    limits = {
        "storage": costs.storage_bytes_per_s / (costs.photo_bytes + costs.row_bytes) / worker_photos_per_s,
        "submission of tasks": task_s / costs.submit_s,
        "the scheduler": 1 / (costs.scheduler_share_per_worker + costs.scheduler_s_per_task / task_s),
    }
    speed = worker_photos_per_s * min(workers, *limits.values())
    predicting_s = max(math.ceil(tasks / workers) * task_s, photos / speed)
    # These two do not slow the other workers: workers without a task are idle, and the submission is written last.
    limits |= {
        "the number of tasks": float(tasks),
        "writing of the submission": costs.writer_photos_per_s / worker_photos_per_s,
    }
    limit = min(limits, key=limits.__getitem__)
    seconds = costs.start_s + predicting_s + photos / costs.writer_photos_per_s
    return Estimate(seconds, speed, limit, limits[limit])


def table(costs: Costs) -> str:
    """Return the Markdown table of docs/performance.md."""
    headings = [
        "GPUs",
        f"{TRAININGS} trainings",
        "test set, published GPU",
        "limit",
        "test set, assumed GPU",
        "limit",
    ]
    rows = [headings, ["---"] * len(headings)]
    for gpus in GPUS:
        hours = math.ceil(TRAININGS / gpus) * PUBLISHED_TRAINING_H
        idle = f" ({gpus - TRAININGS} idle)" if gpus > TRAININGS else ""
        row = [str(gpus), f"{hours:,.0f} h{idle}"]
        for photos_per_s in (PUBLISHED_PHOTOS_PER_S, ASSUMED_PHOTOS_PER_S):
            estimate = estimate_prediction(costs, photos_per_s, gpus)
            row += [_duration(estimate.seconds), f"{estimate.limit}, at {estimate.limit_workers:,.0f} GPUs"]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    sys.stdout.write(table(Costs.read()) + "\n")
