"""CPU seconds of a task at several sizes, and a law fitted to them.

    cpu_s = constant + factor * (size / largest size)^exponent

The constant is the cost of a task without any patterns or runs: without it, small sizes would
distort the exponent. The fit is least squares in the logarithm of the time, so that all sizes have
equal weight.
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
    """Measured CPU seconds per size. `axis`: what `sizes` counts, "patterns" or "runs"."""

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
        """Sizes from the largest measured one to the end of the axis, and their CPU seconds by the
        law."""
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
    """User and system seconds that `work` takes in this process and its finished children."""
    start = _used()
    work()
    return _used() - start


def _used() -> float:
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)
