"""Settings of a process that trains: what its memory and its smallest numbers cost on a CPU.

Freed memory stays in the process
    glibc maps a large block from the system and unmaps it when it is freed, so each activation of
    each step costs a page fault and a zeroed page every 4 KiB. A training step frees and asks for
    the same blocks again and again. The process then holds its peak until it ends, which a trainer
    does anyway.
Numbers below 1e-38 count as zero
    Gradients of a dying network are in that range, where a product takes ten times as
    long.

One thread
    Sums in a fixed order: two runs of one seed are equal to the bit.

The gain of the first two is recorded in bench/README.md.
"""

from __future__ import annotations

import ctypes
import sys

import torch

# <malloc.h>; the thresholds are bytes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP = 1 << 30


def settle() -> None:
    """Settle this process for training, for good: a process that only trains calls it first."""
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.set_flush_denormal(True)


def flushes_denormals() -> bool:
    """Whether this thread counts numbers below 1e-38 as zero."""
    return float(torch.tensor(1e-39) * 1.0) == 0.0


def keep_freed_memory() -> bool:
    """Tell the allocator of this process to keep what is freed; whether it has such a setting.

    glibc has; other C libraries (macOS, musl) keep their own habits.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEEP)) and bool(mallopt(M_TRIM_THRESHOLD, KEEP))
