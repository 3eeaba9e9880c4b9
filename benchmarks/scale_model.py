"""What more machines would do, on paper: hours, and the first thing that they all wait for.

    ./run.sh benchmark scale_model

What a piece costs on its way is measured (`benchmarks/cluster.toml`, by `benchmarks/cluster.py`); how fast a GPU is,
is not: that is published, or assumed, and says so.
"""

import math
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from carvana.competition.names import ANGLES

TEST_PHOTOS = 6_254 * ANGLES
GPUS = (1, 8, 100)

PUBLISHED_PHOTOS_S = TEST_PHOTOS / (180 * 3600)
"""Of a GTX 1080 Ti, 5 folds with flips at full size: 180 card-hours, by the competition's 4th place."""

ASSUMED_PHOTOS_S = 100.0
"""Of a GPU of today, with a small network."""

PUBLISHED_RUN_H = 2_140 / 49
"""GPU-hours that a network took to train on a Titan X Pascal, by the competition's 1st place."""

RUNS = 20
"""Four recipes on five folds."""


@dataclass(frozen=True)
class Costs:
    """What was measured, in seconds, bytes, and photos a second."""

    piece_photos: int
    plain_photos_s: float
    one_worker_photos_s: float
    two_workers_photos_s: float
    overhead_s: float
    """That a piece takes longer on a worker than in the plain run."""
    start_s: float
    hand_out_s: float
    scheduler_s_a_piece: float
    scheduler_share_a_worker: float
    photo_bytes: float
    row_bytes: float
    storage_bytes_s: float
    writer_photos_s: float

    @classmethod
    def read(cls) -> "Costs":
        """Read what `benchmarks/cluster.py` wrote."""
        return cls(**tomllib.loads(Path(__file__).with_name("cluster.toml").read_text()))


@dataclass(frozen=True)
class Estimate:
    """A prediction with so many workers."""

    seconds: float
    photos_s: float
    """While the workers work."""
    first: str
    """What they would wait for first, were there more of them."""
    at: float
    """How many of them use it up."""


def predicted(costs: Costs, photos_s: float, workers: int, photos: int = TEST_PHOTOS) -> Estimate:
    """Estimate a prediction: its start, its pieces, a worker one at a time, and the submission after them.

    Args:
        costs: as measured.
        photos_s: of one worker in the plain run.
        workers: how many.
        photos: in all.
    """
    piece_s = costs.piece_photos / photos_s + costs.overhead_s
    each, pieces = costs.piece_photos / piece_s, math.ceil(photos / costs.piece_photos)
    limits = {
        "storage": costs.storage_bytes_s / (costs.photo_bytes + costs.row_bytes) / each,
        "handing out": piece_s / costs.hand_out_s,
        "the scheduler": 1 / (costs.scheduler_share_a_worker + costs.scheduler_s_a_piece / piece_s),
    }
    rate = each * min(workers, *limits.values())
    working = max(math.ceil(pieces / workers) * piece_s, photos / rate)
    # These do not slow the others down: workers without a piece are idle, and the submission is written at the end.
    limits |= {"pieces": float(pieces), "the submission's writer": costs.writer_photos_s / each}
    first = min(limits, key=limits.__getitem__)
    seconds = costs.start_s + working + photos / costs.writer_photos_s
    return Estimate(seconds, rate, first, limits[first])


def table(costs: Costs) -> str:
    """The table of the README, in Markdown."""
    heads = [
        "GPUs",
        f"{RUNS} trainings",
        "test set, published GPU",
        "waits first for",
        "assumed GPU",
        "waits first for",
    ]
    lines = [heads, ["---"] * len(heads)]
    for gpus in GPUS:
        rounds = math.ceil(RUNS / gpus)
        slow, fast = (predicted(costs, rate, gpus) for rate in (PUBLISHED_PHOTOS_S, ASSUMED_PHOTOS_S))
        trained = f"{rounds * PUBLISHED_RUN_H:,.0f} h" + (f" ({gpus - RUNS} idle)" if gpus > RUNS else "")
        lines.append([str(gpus), trained, _time(slow), _first(slow), _time(fast), _first(fast)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _time(estimate: Estimate) -> str:
    return (
        f"{estimate.seconds / 3600:.1f} h" if estimate.seconds > 3600 else f"{estimate.seconds / 60:.0f} min"
    )


def _first(estimate: Estimate) -> str:
    return f"{estimate.first}, at {estimate.at:,.0f} GPUs"


if __name__ == "__main__":
    sys.stdout.write(table(Costs.read()) + "\n")
