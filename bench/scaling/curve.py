"""CPU seconds of one task at several sizes, and the law through them.

    cpu_s = constant + factor * (size / largest size)^exponent

The constant is what a task costs before its first pattern or run: without it the small sizes would
bend the exponent. Least squares in the logarithms, so every size counts alike.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import least_squares

REACH = {"patterns": 1_000_000, "runs": 10_000}


@dataclass(frozen=True)
class Curve:
    """`axis` says what `sizes` counts: patterns or runs."""

    name: str
    axis: str
    sizes: tuple[int, ...]
    cpu_s: tuple[float, ...]

    @cached_property
    def law(self) -> tuple[float, float, float]:
        """(constant, factor, exponent), the first two in CPU seconds."""
        seconds = np.array(self.cpu_s)
        start = (np.log(seconds[0] / 2), np.log(seconds[-1]), 1.0)
        at = np.array(self.sizes, dtype=float)
        found = least_squares(lambda q: np.log(self._model(q, at) / seconds), start).x
        return float(np.exp(found[0])), float(np.exp(found[1])), float(found[2])

    def _model(self, q: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return np.exp(q[0]) + np.exp(q[1]) * (sizes / self.sizes[-1]) ** q[2]

    def beyond(self) -> tuple[list[float], list[float]]:
        """Sizes from the largest measured one to the end of the axis, and what the law says."""
        sizes = np.geomspace(self.sizes[-1], REACH[self.axis], 12)
        constant, factor, exponent = self.law
        seconds = constant + factor * (sizes / self.sizes[-1]) ** exponent
        return sizes.tolist(), seconds.tolist()

    def record(self) -> dict[str, Any]:
        sizes, seconds = self.beyond()
        return {
            **asdict(self),
            "ms_each_at_the_largest": 1e3 * self.cpu_s[-1] / self.sizes[-1],
            "law": dict(zip(("constant", "factor", "exponent"), self.law, strict=True)),
            "extrapolated": {"sizes": sizes, "cpu_s": seconds},
        }


def cpu_seconds(work: Callable[[], object]) -> float:
    """User and system seconds of this process and of its children that ended."""
    start = _used()
    work()
    return _used() - start


def _used() -> float:
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)
