"""Time on a device: CUDA events on a GPU, wall time on a CPU; candidates alternate.

The thread time used by `bench.timing` does not measure a GPU, which works while the host waits.
These figures therefore require an otherwise idle machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from bench.timing import Times

Call = Callable[[], object]


def now(device: torch.device) -> float:
    """Wall time in seconds, after all work submitted to the device is complete."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(call: Call, device: torch.device, repeats: int) -> float:
    """Seconds per call, averaged over `repeats` consecutive calls."""
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
    """Seconds per call for each candidate (name -> (call, repeats)), one number per round."""
    for call, _ in candidates.values():
        for _ in range(warm):
            call()
    times: Times = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, (call, repeats) in candidates.items():
            times[name].append(seconds(call, device, repeats))
    return times
