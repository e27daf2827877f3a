"""Numbers in findings.json with their intervals, and the base class of all its objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
)

from study.evidence.statistics import Interval


def _finite(value: Any) -> Any:
    """Replace values that are not finite by None, since JSON files with NaN cannot be parsed."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


class Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


E = TypeVar("E", bound="Estimate")


class Estimate(Stored):
    """A mean, difference or rate with its two-sided interval at `level`, over `n` values."""

    estimate: float
    low: Number
    high: Number
    level: float
    n: int

    @classmethod
    def of(cls: type[E], interval: Interval, **more: Any) -> E:
        return cls(**asdict(interval), **more)

    @property
    def half(self) -> float | None:
        """Half of the width of the interval, or None."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class Difference(Estimate):
    """Treatment minus control, paired by seed."""

    id: str


class MeanOfArm(Difference):
    """Mean over the seeds. `values`: s<seed> -> the number of that seed."""

    median: float
    values: Mapping[str, float]


class Effect(Difference):
    unit: str
