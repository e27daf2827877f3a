"""A claim with its evidence: who is compared, what is there, what is missing, which gates hold.

Design choices
- What is judged are the settings that ran (they stand in every seed's JSON), not those that
  params.yaml has now; where the two differ a gate fails.
- A failed run is evidence with a missing number, never a gap: every declared seed is accounted for.
- A row that is no network has one value. A network's seeds stand against it one by one, which is a
  one-sample comparison and is called so; a rate of one run, and a pair of two such rows, are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from study.evidence import flags, statistics
from study.evidence.arms import ArmResults, block, factors, lookup
from study.evidence.claims import Claim
from study.evidence.wording import listed
from study.params import Arm, Row, Scalar, leaves


@dataclass(frozen=True)
class Gate:
    """One condition of a verdict; `reason` says why it failed."""

    name: str
    reason: str | None

    @property
    def passed(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class Side:
    """One arm of a contrast: what was asked of it and what is stored."""

    name: str
    asked: Row | None
    results: ArmResults | None

    @cached_property
    def row(self) -> Row | None:
        """The settings that ran; before any run, those that are asked for."""
        return self.asked if self.results is None else self.results.row

    @cached_property
    def is_reference(self) -> bool:
        return self.row is not None and not isinstance(self.row, Arm)

    @cached_property
    def declared(self) -> tuple[int, ...]:
        known = () if self.results is None else self.results.known_seeds
        return known if self.asked is None else tuple(self.asked.seeds)

    @cached_property
    def seconds(self) -> float | None:
        """Mean duration of a run; None where none was measured."""
        measured = {} if self.results is None else self.results.values("training.seconds")
        return sum(measured.values()) / len(measured) if measured else None

    def stored(self, seed: int) -> Mapping[str, Any] | None:
        """The seed's JSON. A reference has one run, which stands against every seed."""
        if self.results is None:
            return None
        if self.is_reference:
            return next(iter(self.results.seeds.values()))
        return self.results.seeds.get(seed)


@dataclass(frozen=True)
class Trial:
    """A claim with the evidence for it; `second` is the same contrast on a second object."""

    claim: Claim
    treatment: Side
    control: Side
    second: Trial | None = None

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.treatment, self.control

    @cached_property
    def trained(self) -> tuple[Side, ...]:
        return tuple(side for side in self.sides if not side.is_reference)

    @cached_property
    def fixed(self) -> Side | None:
        """The side that is no network and has one value, where there is one."""
        return next((side for side in self.sides if side.is_reference), None)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that both arms declare; a reference goes with all of them."""
        trained = [set(side.declared) for side in self.trained]
        shared = set.intersection(*trained) if trained else set(self.control.declared)
        return tuple(sorted(shared))

    @cached_property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """(treatment, control) of every seed that has both numbers."""
        found = [tuple(self.value(side, seed) for side in self.sides) for seed in self.seeds]
        return tuple((t, c) for t, c in found if t is not None and c is not None)

    @cached_property
    def differences(self) -> list[float]:
        return [treatment - control for treatment, control in self.pairs]

    def value(self, side: Side, seed: int) -> float | None:
        """The claim's number of one run; for failure rates 1 for a run that is not ok."""
        content = side.stored(seed)
        if content is None or side.results is None:
            return None
        if self.claim.evidence == "failure_rate":
            return float(content["outcome"] != "ok")
        return side.results.numbers[content["seed"]].get(self.claim.metric)

    def rate(self, side: Side) -> tuple[int, int]:
        """(failed or collapsed, all) of one arm."""
        values = [self.value(side, seed) for seed in self.seeds]
        known = [value for value in values if value is not None]
        return int(sum(known)), len(known)

    @cached_property
    def changed(self) -> dict[str, tuple[Scalar, Scalar]] | None:
        """Factors in which the arms differ, None when that is not known."""
        left, right = self.control.row, self.treatment.row
        return None if left is None or right is None else factors(left, right)

    @cached_property
    def p(self) -> float | None:
        """What Holm's rule ranks; None while there is nothing to test."""
        if self.missing or self.failed_gates:
            return None
        if self.claim.evidence == "failure_rate":
            return statistics.fisher_p(self.rate(self.treatment), self.rate(self.control))
        if len(self.pairs) < statistics.least_pairs():
            return None
        if self.claim.direction == "equal":
            return statistics.equivalence_p(self.differences, self.claim.margin.value)
        return statistics.paired_p(self.differences)

    # -- what is there and what is not

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """A sentence for every number that should be there and is not."""
        absent = tuple(f"no results of {side.name}" for side in self.sides if side.results is None)
        if absent:
            return absent
        if not self.trained:
            return (f"{self.treatment.name} and {self.control.name} have one value each, no seeds",)
        if not self.seeds:
            return (f"{self.treatment.name} and {self.control.name} share no seed",)
        sentences = (self._absence(side, seed) for seed in self.seeds for side in self.sides)
        return tuple(dict.fromkeys(sentence for sentence in sentences if sentence))

    def _absence(self, side: Side, seed: int) -> str | None:
        if self.value(side, seed) is not None:
            return None
        content = side.stored(seed)
        run = side.name if side.is_reference else f"{side.name} s{seed}"
        if content is None:
            return f"{run} is missing"
        if content["outcome"] == "failed":
            return f"{run} failed ({content['cause'] or 'no cause recorded'})"
        checkpoint, _, path = self.claim.metric.partition(".")
        reason = lookup(block(content, checkpoint) or {}, ("reasons", path))
        return f"{run} has no {self.claim.metric} ({reason or 'no such reconstruction'})"

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        return (
            Gate("same data", self._data()),
            Gate("same code", self._code()),
            Gate("clean tree", self._tree()),
            Gate("settings as asked for", self._settings()),
            Gate("checkpoint", self._checkpoint()),
            Gate("arms told apart", self._identity()),
            Gate("not degenerate", self._degenerate()),
            Gate("rates of runs", self._rates()),
        )

    @cached_property
    def failed_gates(self) -> list[Gate]:
        return [gate for gate in self.gates if not gate.passed]

    @cached_property
    def runs(self) -> list[tuple[str, Mapping[str, Any]]]:
        """(name, JSON) of every stored run of the contrast, failed ones included."""
        found = {
            f"{side.name} s{content['seed']}": content
            for side in self.sides
            for content in (side.stored(seed) for seed in self.seeds)
            if content is not None
        }
        return list(found.items())

    # -- the gates

    def _data(self) -> str | None:
        for side in self.sides:
            if side.results and len(side.results.facts("data", "sha256")) > 1:
                return f"the seeds of {side.name} ran on different data"
        if "data" in self.claim.changes:
            return None
        hashes = {side.results.data_sha256 for side in self.sides if side.results}
        return (
            f"{self.treatment.name} and {self.control.name} ran on different data, and the claim "
            "does not name data as its changed factor"
            if len(hashes) > 1
            else None
        )

    def _code(self) -> str | None:
        """One behaviour an arm: DVC trains an arm anew as soon as its fingerprint moved."""
        mixed = [
            side.name
            for side in self.sides
            if side.results and len(side.results.facts("code", "fingerprint")) > 1
        ]
        return f"seeds of one arm ran with different code: {listed(mixed)}" if mixed else None

    def _tree(self) -> str | None:
        dirty = [name for name, content in self.runs if content["code"]["dirty"]]
        return (
            f"started from a tree with uncommitted changes: {listed(dirty)}; commit, train again"
            if dirty
            else None
        )

    def _settings(self) -> str | None:
        for side in self.sides:
            if side.results is not None and len(side.results.facts("settings")) > 1:
                return f"the seeds of {side.name} ran with different settings"
            if side.results is None or side.asked is None:
                continue
            if any(settings != leaves(side.asked) for settings in side.results.facts("settings")):
                pipeline, slash, _ = side.name.partition("/")
                file = f"{pipeline}/params.yaml" if slash else "params.yaml"
                return f"the results of {side.name} have other settings than {file}"
        return None

    def _checkpoint(self) -> str | None:
        asked = self.claim.metric.partition(".")[0]
        if asked not in ("best", "last"):
            return None
        for name, content in self.runs:
            found = lookup(block(content, asked) or {}, ("checkpoint",))
            if found not in (None, asked, "only"):
                return f"{name}: the object of checkpoint {asked} is labelled {found}"
        return None

    def _identity(self) -> str | None:
        """A setting that never reached the run makes two arms equal, and proves nothing."""
        left, right = self.treatment.results, self.control.results
        return None if left is None or right is None else flags.lost(left, right)

    def _degenerate(self) -> str | None:
        """Numbers of the whole run (losses) describe no constant object either."""
        if self.claim.evidence == "failure_rate":
            return None
        checkpoint = self.claim.metric.partition(".")[0]
        checkpoint = checkpoint if checkpoint in ("best", "last") else "last"
        channel = self.claim.column.channel or "amplitude"
        found = []
        for name, content in self.runs:
            gate = lookup(block(content, checkpoint) or {}, ("gate", channel))
            # The floor of the table is a constant on purpose, and labelled so.
            if gate and not gate["evaluable"] and content["label"] != "floor":
                found.append(f"{name}: {gate['reason']}")
        return "; ".join(found) or None

    def _rates(self) -> str | None:
        if self.claim.evidence != "failure_rate" or self.fixed is None:
            return None
        return f"{self.fixed.name} is no network: one run that always ends has no failure rate"


def make_trial(claim: Claim, arms: Mapping[str, ArmResults], rows: Mapping[str, Row]) -> Trial:
    """The claim with what is stored of its arms and, by `rows`, what was asked of them."""
    treatment, control = (
        Side(name, rows.get(name), arms.get(name))
        for name in (claim.arms.treatment, claim.arms.control)
    )
    second = None
    if claim.second_object is not None:
        changes = {"arms": claim.second_object, "second_object": None}
        second = make_trial(claim.model_copy(update=changes), arms, rows)
    return Trial(claim, treatment, control, second)
