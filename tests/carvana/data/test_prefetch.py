"""Prefetching."""

import threading

import pytest

from carvana.data.prefetch import prefetch


def test_results_come_in_order() -> None:
    assert list(prefetch(lambda number: number**2, range(50), ahead=7)) == [n**2 for n in range(50)]


def test_items_are_drawn_only_as_far_as_requested() -> None:
    drawn = []

    def numbers():
        for number in range(1000):
            drawn.append(number)
            yield number

    results = prefetch(lambda number: number, numbers(), ahead=5)
    assert next(results) == 0
    assert len(drawn) == 6
    results.close()


def test_an_exception_is_raised_in_place_of_its_result() -> None:
    results = prefetch(lambda number: 1 / number, [2, 1, 0, 1], ahead=3)
    assert [next(results), next(results)] == [0.5, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    results = prefetch(lambda number: number, range(100), ahead=4)
    next(results)
    results.close()
    assert threading.active_count() == before
