"""Signals as requests: kept until someone asks, insisted upon by a second Ctrl-C."""

from __future__ import annotations

import os
import signal

import pytest

from study.training.stopping import Cancelled, listening


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_to_be_asked_for(number: signal.Signals) -> None:
    with listening() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Cancelled, match=f"stopped by {number.name}"):
            stop.check()


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with listening() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Cancelled):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.cause == "stopped by SIGINT"


def test_earlier_handlers_come_back_even_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), listening():
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) == before
