"""Ctrl-C within a block that delays it, and where Python discards it."""

import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from carvana.interrupts import deferred_interrupts, resend_lost_interrupt


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Python's handler for Ctrl-C, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_an_interrupt_is_raised_at_the_end_of_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        signal.raise_signal(signal.SIGINT)
        done.append("the rest of the block")
    assert done


def test_an_interrupt_is_raised_also_if_the_block_fails() -> None:
    with pytest.raises(KeyboardInterrupt) as interrupt, deferred_interrupts():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("of the block")
    assert str(interrupt.value.__context__) == "of the block"


def test_without_an_interrupt_nothing_is_raised() -> None:
    with deferred_interrupts():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_other_threads_receive_no_signals() -> None:
    done = []

    def work() -> None:
        with deferred_interrupts():
            done.append("the block")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_an_interrupt_that_a_weak_reference_discards_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", resend_lost_interrupt)
    event = threading.Event()
    reference = weakref.ref(event, lambda _: signal.raise_signal(signal.SIGINT))
    del event
    assert reference() is None
    with pytest.raises(KeyboardInterrupt):
        time.sleep(10)


def test_other_discarded_exceptions_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise ValueError("of the callback")

    monkeypatch.setattr(sys, "unraisablehook", resend_lost_interrupt)
    event = threading.Event()
    reference = weakref.ref(event, fail)
    del event
    assert reference() is None
    assert "ValueError: of the callback" in capsys.readouterr().err
