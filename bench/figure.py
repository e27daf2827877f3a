"""A measured figure and its goal."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A performance goal. `at_least` False: the value is a cost and must not exceed `limit`."""

    id: str
    what: str
    limit: float
    unit: str
    at_least: bool

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Figure:
    """The value compared with a goal, and the numbers from which it was computed.

    `value` is None if it could not be measured; `why` is then the reason.
    """

    goal: Goal
    value: float | None
    details: dict[str, Any] = field(default_factory=dict)
    why: str | None = None

    @property
    def met(self) -> bool | None:
        return None if self.value is None else self.goal.reached(self.value)

    def record(self, machine: dict[str, Any], versions: dict[str, Any]) -> dict[str, Any]:
        """The entry of latest.json."""
        goal = self.goal
        return {
            "id": goal.id,
            "what": goal.what,
            "value": self.value,
            "unit": goal.unit,
            "goal": goal.limit,
            "better": "higher" if goal.at_least else "lower",
            "met": self.met,
            "why": self.why,
            "details": self.details,
            "machine": machine,
            "versions": versions,
        }


def figures_of(module: str) -> list[Figure]:
    """Run the measurements of bench/<module>.py."""
    return importlib.import_module(f"bench.{module}").measure()
