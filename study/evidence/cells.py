"""The results table: one row per arm and one cell per number, shared by all views.

findings.md, README, terminal, report and app differ only in layout and digits; value, interval, n,
status and reason are determined here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from study.evidence.claim_finding import Verdict
from study.evidence.estimates import Estimate, MeanOfArm
from study.evidence.evaluable import ABSENT, NOT_EVALUABLE, reasons
from study.evidence.format import counted, fmt, join_words
from study.evidence.metric_catalog import Column, find_column
from study.evidence.model import ArmFinding

Status = Literal["complete", "partial", "not evaluable", "absent"]
LABELS = ("arm", "floor", "reference", "ceiling")


@dataclass(frozen=True)
class Cell:
    """One number of one arm.

    `status`: "complete"; "partial" if failed or collapsed runs lack the number, so that the mean is
    over the other runs; "not evaluable"; or "absent". `facts` is None for the last two. `reasons`:
    s<seed> -> why it has no score, also if there is a mean over other seeds. `ran`: number of seeds
    that ran.
    """

    column: Column
    status: Status
    facts: MeanOfArm | None
    reasons: Mapping[str, str]
    ran: int

    @property
    def estimate(self) -> float | None:
        return None if self.facts is None else self.facts.estimate

    @property
    def id(self) -> str:
        """The id of the number for `study explain`; empty if there is no number."""
        return "" if self.facts is None else self.facts.id

    @property
    def values(self) -> Mapping[str, float]:
        return {} if self.facts is None else self.facts.values

    @property
    def rank(self) -> float | None:
        """The value for sorting and filtering; a mean that excludes failed runs is not ranked."""
        return self.estimate if self.status == "complete" else None

    @property
    def is_bound(self) -> bool:
        """Whether the FRC of some seed never falls below 0.5, so that the mean is a lower bound."""
        return self.column.limit is not None and self.column.limit in self.values.values()

    @property
    def why(self) -> str:
        """Why seeds have no score, each reason once; empty if all seeds have one."""
        by_reason: dict[str, list[str]] = {}
        for seed, reason in self.reasons.items():
            by_reason.setdefault(reason, []).append(seed)
        return "; ".join(f"{reason} ({_some(seeds)})" for reason, seeds in by_reason.items())

    @property
    def seeds(self) -> str:
        """`n = 6`, or `n = 4 of 20` if failed or collapsed runs lack the number."""
        if self.facts is None:
            return ""
        return f"n = {self.facts.n}" + (f" of {self.ran}" if self.status == "partial" else "")

    def value(self, digits: int = 4) -> str:
        """The estimate, or the reason why there is none."""
        if self.facts is None:
            return NOT_EVALUABLE if self.status == NOT_EVALUABLE else ABSENT
        return f"{'≥ ' if self.is_bound else ''}{fmt(self.facts.estimate, digits)}"

    def bounded(self, digits: int = 4) -> str:
        """`0.0631 [0.0612, 0.065]`."""
        return f"{self.value(digits)}{bounds(self.facts, digits)}"

    def long(self) -> str:
        """`0.0631 [0.0612, 0.065], n = 6`."""
        return self.bounded() if self.facts is None else f"{self.bounded()}, {self.seeds}"

    def short(self, digits: int = 4) -> str:
        """`0.0631 ± 0.0019`, with the number of seeds if some that ran are missing."""
        if self.facts is None:
            return self.value()
        half = "" if self.facts.half is None else f" ± {fmt(self.facts.half, 2)}"
        seeds = "" if self.facts.n == self.ran else f", {self.seeds}"
        return f"{self.value(digits)}{half}{seeds}"


def cell(arm: ArmFinding, path: str) -> Cell:
    """The number of `arm` at `path` (`study.evidence.metric_catalog`).

    A mean that includes degenerate reconstructions is not shown: the published metric set, as
    defined by the earlier work, also scores constants. The floor is exempt, since it is
    deliberately constant.
    """
    column, facts = find_column(path), arm.numbers.get(path)
    lost = reasons(path, arm.degenerate)
    if facts is not None and arm.label != "floor" and set(lost) & set(facts.values):
        facts = None
    status: Status = "complete"
    if facts is None:
        status = "not evaluable" if lost else "absent"
    elif arm.trained and any(f"s{seed}" not in facts.values for seed in arm.seeds.dead):
        status = "partial"
    return Cell(column, status, facts, lost, arm.seeds.ran)


def bounds(facts: Estimate | Verdict | None, digits: int = 4) -> str:
    """` [0.0612, 0.065]`, empty without an interval."""
    if facts is None or facts.low is None:
        return ""
    return f" [{fmt(facts.low, digits)}, {fmt(facts.high, digits)}]"


def _some(seeds: Sequence[str]) -> str:
    """The names of up to three seeds, or the number of more."""
    return join_words(seeds) if len(seeds) <= 3 else counted(len(seeds), "seed")


# --- the table --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One arm of the table. `cells`: by path of the number."""

    name: str
    arm: ArmFinding
    cells: Mapping[str, Cell]

    @property
    def short_name(self) -> str:
        """The arm without its pipeline, followed by its label if it is not a trained network."""
        name = self.name.rpartition("/")[2]
        return name if self.arm.trained else f"{name} ({self.arm.label})"


def results_table(
    arms: Mapping[str, ArmFinding], names: Iterable[str], paths: Sequence[str]
) -> list[Line]:
    """One line per arm of `names`: the control, other trained networks, floor, references and
    ceiling, each in the order of `names`."""
    return [
        Line(name, arms[name], {path: cell(arms[name], path) for path in paths})
        for name in in_order(names, {name: arms[name].label for name in names})
    ]


def in_order(names: Iterable[str], labels: Mapping[str, str | None]) -> list[str]:
    """The order of arms in every table."""

    def place(name: str) -> tuple[int, bool]:
        label = labels[name]
        kind = LABELS.index(label) if label in LABELS else len(LABELS)
        return kind, name.rpartition("/")[2] != "control"

    return sorted(names, key=place)
