"""Whether an array may be read at all, judged by what its file declares, before memory is taken.

A few hundred bytes can declare terabytes, and a well packed file can unfold to a thousand times its
size. Both are compared here with the free memory and with the bytes that the file really stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from study.runs import environment
from study.settings import UserError

# Small arrays may be packed as tightly as they like: constant masks and dark frames are.
SMALL_BYTES = 2**28
# Sparse photon counts shrink to a hundredth; more than this is not a measurement.
EXPANSION = 200
# Of the free memory, for one file; the rest is left to whatever else runs.
FREE_SHARE = 0.75


def working_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """Memory that reading an array and working on it takes: itself twice, two copies in float32."""
    return prod(shape) * (2 * dtype.itemsize + 8)


def check_memory(needed_bytes: int, what: str) -> None:
    """Raise UserError when `needed_bytes` are more than this process may take.

    `what`: the subject of the sentence, such as a file and what it declares.
    """
    free = FREE_SHARE * environment.memory()
    if needed_bytes > free:
        raise UserError(
            f"{what} needs {needed_bytes / 1e9:.2f} GB of memory but {free / 1e9:.2f} GB can be "
            "used; crop, bin or split the scan, or use a machine with more memory"
        )


def check_expansion(declared_bytes: int, stored_bytes: int, what: str) -> None:
    """Raise UserError when `stored_bytes` cannot plausibly hold `declared_bytes` of data."""
    if declared_bytes > max(SMALL_BYTES, EXPANSION * stored_bytes):
        raise UserError(
            f"{what} declares {declared_bytes / 1e9:.2f} GB but only {stored_bytes} bytes are "
            f"stored; accepted: at most {EXPANSION} times the stored size; make the file again"
        )
