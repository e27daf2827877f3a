"""Seconds on a device: CUDA events on a GPU, the wall clock on a CPU; candidates take turns.

The thread time of `bench.timing` says nothing of a GPU, which works while the host waits. So do
these figures ask for a machine where nothing else computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from bench.timing import Times

Call = Callable[[], object]


def now(device: torch.device) -> float:
    """The wall clock, in seconds, once the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(call: Call, device: torch.device, repeats: int) -> float:
    """Seconds per call of `repeats` calls in a row."""
    if device.type != "cuda":
        start = now(device)
        for _ in range(repeats):
            call()
        return (now(device) - start) / repeats
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record()
    for _ in range(repeats):
        call()
    end.record()
    torch.cuda.synchronize(device)
    return begin.elapsed_time(end) / 1e3 / repeats


def in_rounds(
    candidates: Mapping[str, tuple[Call, int]], device: torch.device, rounds: int, warm: int = 5
) -> Times:
    """name -> (call, repeats): seconds per call, one number a round and candidate."""
    for call, _ in candidates.values():
        for _ in range(warm):
            call()
    times: Times = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, (call, repeats) in candidates.items():
            times[name].append(seconds(call, device, repeats))
    return times
