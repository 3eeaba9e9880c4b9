"""PipelineTimer that overlap."""

import time

from carvana.data.timing import PipelineTimer


def test_stages_overlap_and_the_slowest_is_named() -> None:
    """Together they take about as long as the slowest alone: 20 times 10 ms, not 20 times 15."""
    stages = PipelineTimer()
    began = time.perf_counter()
    quick = stages.stage("quick", lambda item: time.sleep(0.005) or item, range(20), ahead=4, workers=1)
    slow = stages.stage("slow", lambda item: time.sleep(0.02) or item, quick, ahead=4, workers=1)
    assert list(slow) == list(range(20))
    assert time.perf_counter() - began < 0.48
    assert stages.slowest().startswith("slowest: slow, ")
    assert 0 < stages.busy()["quick"] < stages.busy()["slow"] <= 1


def test_the_time_of_several_threads_is_shared() -> None:
    stages = PipelineTimer()
    list(stages.stage("pair", lambda item: time.sleep(0.02), range(10), ahead=4, workers=2))
    assert stages.busy()["pair"] <= 1
