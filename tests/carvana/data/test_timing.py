"""Steps of a pipeline that run at the same time."""

import threading
import time

import pytest

from carvana.data.timing import PipelineTimer, Throughput


def test_steps_overlap() -> None:
    """The first step's work on item 1 and the second's on item 0 each wait until the other has begun."""
    timer, both = PipelineTimer(), threading.Barrier(2, timeout=60)

    def first(item: int) -> int:
        if item == 1:
            both.wait()
        return item

    def second(item: int) -> int:
        if item == 0:
            both.wait()
        return item

    once = timer.map("first", first, range(20), ahead=0, workers=1)
    results = timer.map("second", second, once, ahead=4, workers=1)
    assert list(results) == list(range(20))


def test_the_bottleneck_is_the_busiest_step() -> None:
    timer = PipelineTimer()
    fast = timer.map("fast", lambda item: time.sleep(0.001), range(10), ahead=4, workers=1)
    list(timer.map("slow", lambda item: time.sleep(0.02), fast, ahead=4, workers=1))
    assert timer.bottleneck().startswith("slowest: slow, ")
    utilization = timer.utilization()
    assert 0 < utilization["fast"] < utilization["slow"] <= 1


def test_the_time_of_several_threads_is_shared() -> None:
    throughput = Throughput(workers=2)
    with throughput.work(count=3):
        time.sleep(0.02)
    seconds = 2 * 3 / throughput.rate()  # two threads take half the time
    assert seconds >= 0.02
    assert throughput.utilization(elapsed=seconds) == pytest.approx(0.5)
