"""SIGTERM and Ctrl-C as a request: the run stops after the current step, with a checkpoint.

A second Ctrl-C interrupts it at once, without waiting for the step. Outside the main thread no
handler can be set; such a run is stopped by the owner of the main thread.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Cancelled(Exception):
    """Raised where a run ends because a stop was asked for; no KeyboardInterrupt, on which
    Lightning would end the process."""


class Stop:
    """Whether and by which signal this process was asked to stop."""

    def __init__(self) -> None:
        self.cause: str | None = None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.cause is not None and number == signal.SIGINT:
            raise Cancelled(self.cause)
        self.cause = f"stopped by {signal.Signals(number).name}"

    def listen(self) -> None:
        """Take over the signals; again after someone else (Lightning) took them."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._request)

    def check(self) -> None:
        """Raise Cancelled when a stop was asked for."""
        if self.cause is not None:
            raise Cancelled(self.cause)


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """A `Stop` that listens while the body runs; the earlier handlers come back after it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop = Stop()
    stop.listen()
    try:
        yield stop
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
