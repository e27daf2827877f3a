"""A claim with its evidence: compared arms, present and missing results, gates.

Design choices
- What is judged are the settings that ran (they are in every seed's JSON), not those that
  params.yaml has now; where the two differ a gate fails.
- A failed run is evidence with a missing number, never a gap: every declared seed is accounted for.
  In a claim about means it ranks below every finished run (`study.evidence.ranking`).
- A claim with `looks` is judged on its first seeds in ascending order, as many as the latest
  planned look has. Later results are not used before the next look.
- A baseline on a data set with one object has one value. A network's seeds stand against it one by
  one, which is a one-sample comparison and is called so; a rate of one run, and a pair of two such
  rows, cannot be compared. Where the data set draws objects per seed a baseline has one value per
  seed, and is paired like a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

from study.evidence import ranking, statistics, survival
from study.evidence.arms import ArmResults, block, factors, lookup
from study.evidence.claims import BOUND, OF_MEANS, Claim
from study.evidence.metric_catalog import SURVIVAL
from study.settings import Arm, Row, Scalar

DEAD = ("failed", "collapsed")


@dataclass(frozen=True)
class Side:
    """One arm of a contrast: what was asked of it and what is stored; or a number, `bound`."""

    name: str
    asked: Row | None
    results: ArmResults | None
    bound: float | None = None

    @cached_property
    def row(self) -> Row | None:
        """The settings that ran; before any run, the requested ones."""
        return self.asked if self.results is None else self.results.row

    @cached_property
    def is_baseline(self) -> bool:
        return self.row is not None and not isinstance(self.row, Arm)

    @cached_property
    def has_one_value(self) -> bool:
        """Whether this is a baseline with one run, or a bound: it is compared with every seed."""
        return self.bound is not None or (self.is_baseline and len(self.declared) == 1)

    @property
    def there(self) -> bool:
        return self.bound is not None or self.results is not None

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
        """The seed's JSON; of a baseline with one value, that."""
        if self.results is None:
            return None
        if self.has_one_value:
            return next(iter(self.results.seeds.values()))
        return self.results.seeds.get(seed)

    def life(self, seed: int) -> survival.Life | None:
        """How long a survival run lived; None without one."""
        facts = lookup(self.stored(seed) or {}, (SURVIVAL,))
        return survival.Life(facts["epochs"], facts["event"]) if facts else None


@dataclass(frozen=True)
class Comparison:
    """A claim with the evidence for it; `look`: the number of pairs of the planned look at which a
    claim with `looks` is judged, None for the latest one that is complete."""

    claim: Claim
    treatment: Side
    control: Side
    look: int | None = None

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.treatment, self.control

    @cached_property
    def varied(self) -> tuple[Side, ...]:
        """The sides with a value per seed."""
        return tuple(side for side in self.sides if not side.has_one_value)

    @cached_property
    def fixed(self) -> Side | None:
        """The side that has one value, where there is one."""
        return next((side for side in self.sides if side.has_one_value), None)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that both arms declare; a fixed value goes with all. Of a survival claim the
        rounds that are complete: its seeds in order, up to the first that an arm lacks."""
        plan = self.claim.survival
        if plan is not None:
            whole = (all(side.life(seed) for side in self.sides) for seed in plan.seeds)
            return tuple(seed for seed, _ in zip(plan.seeds, takewhile(bool, whole), strict=False))
        if not self.claim.looks:
            return self.shared
        latest = self.looks_there[-1] if self.looks_there else self.claim.looks[0]
        return self.shared[: self.look or latest]

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """Seeds that both arms declare, ascending; a fixed value goes with all."""
        varied = [set(side.declared) for side in self.varied]
        shared = set.intersection(*varied) if varied else set(self.control.declared)
        return tuple(sorted(shared))

    @cached_property
    def complete(self) -> int:
        """How many of the first shared seeds have a run of both arms, without a gap."""
        whole = (all(side.stored(seed) for side in self.varied) for seed in self.shared)
        return sum(1 for _ in takewhile(bool, whole))

    @property
    def looks_there(self) -> tuple[int, ...]:
        """The planned looks at the means that the runs so far allow."""
        return tuple(look for look in self.claim.looks if look <= self.complete)

    def at(self, look: int) -> Comparison:
        """The comparison at one planned look. Raises ValueError for a look that is not declared."""
        if look not in self.claim.looks:
            raise ValueError(
                f"{self.claim.id} has no look at {look} pairs; declared: {list(self.claim.looks)}"
            )
        return replace(self, look=look)

    @cached_property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """(treatment, control) of every seed that has both numbers."""
        found = [tuple(self.value(side, seed) for side in self.sides) for seed in self.seeds]
        return tuple((t, c) for t, c in found if t is not None and c is not None)

    @cached_property
    def ranked(self) -> bool:
        """Whether a run died and the arms are compared by rank: in claims about means whose metric
        has a better side."""
        return (
            self.claim.evidence in OF_MEANS
            and self.claim.column.better is not None
            and any(self.dead(side) for side in self.varied)
        )

    def dead(self, side: Side) -> list[int]:
        """Seeds of one arm whose run failed or collapsed."""
        stored = ((seed, side.stored(seed)) for seed in self.seeds)
        return [seed for seed, content in stored if content and content["outcome"] in DEAD]

    @property
    def n(self) -> int:
        """Pairs that the claim is judged on; of ranks those with a dead run too."""
        if not self.ranked:
            return len(self.pairs)
        return sum(all(side.stored(seed) for side in self.varied) for seed in self.seeds)

    @cached_property
    def rank_gaps(self) -> list[float]:
        """By how much the treatment is better, pair by pair, dead runs last; of "not worse" after
        the margin was granted."""
        pairs: list[ranking.Pair] = []
        for seed in self.seeds:
            treatment, control = (self.value(side, seed) for side in self.sides)
            pairs.append((None if treatment is None else treatment - self.limit, control))
        return ranking.pair_gaps(pairs, self.claim.column.better == "lower")

    @cached_property
    def rank_ps(self) -> tuple[float, float]:
        """One-sided exact p of the ranks: that the treatment is not better, and that it is not
        worse. 1 where it would favour an arm with a dead run over one without."""
        dead = [bool(self.dead(side)) for side in self.sides]
        alone = self.fixed is not None
        better = ranking.better_p(self.rank_gaps, alone)
        worse = ranking.better_p([-gap for gap in self.rank_gaps], alone)
        return (
            1.0 if dead == [True, False] else better,
            1.0 if dead == [False, True] else worse,
        )

    @property
    def rank_p(self) -> float:
        """p of the ranks for the claim: two-sided where it asks for a difference."""
        if self.claim.evidence == "mean_difference":
            return min(1.0, 2 * min(self.rank_ps))
        return self.rank_ps[0 if self.claimed_better else 1]

    @property
    def one_sided(self) -> bool:
        """Whether a limit decides the claim: a goal, or "not worse by more than the margin"."""
        return self.claim.evidence in ("non_inferior", BOUND)

    @property
    def claimed_better(self) -> bool:
        """Whether the claimed side of the metric is its better one."""
        return self.claim.direction == self.claim.column.better

    @cached_property
    def differences(self) -> list[float]:
        return [treatment - control for treatment, control in self.pairs]

    def value(self, side: Side, seed: int) -> float | None:
        """The claim's number of one run; for failure rates 1 for a run that is not ok."""
        if side.bound is not None:
            return side.bound
        content = side.stored(seed)
        if content is None or side.results is None:
            return None
        if self.claim.evidence == "failure_rate":
            return float(content["outcome"] != "ok")
        if self.claim.evidence == "survival":
            life = side.life(seed)
            return None if life is None else float(life.epochs)
        if self.ranked and content["outcome"] in DEAD:
            return None
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
    def rate_p(self) -> float:
        """Exact two-sided p that the failure rates of both arms are equal, by the claim's test."""
        test = statistics.RATE_TESTS[self.claim.test].p
        return test(self.rate(self.treatment), self.rate(self.control))

    @property
    def test_p(self) -> float | None:
        """p of the t test that decides a claim about means; None below two pairs."""
        if self.claim.direction == "equal":
            return statistics.equivalence_p(self.differences, self.claim.margin.value)
        if self.one_sided:
            return statistics.one_sided_p(
                self.differences, self.limit, self.claim.direction == "higher"
            )
        return statistics.paired_p(self.differences)

    @property
    def limit(self) -> float:
        """The difference that separates met from missed: zero, or for "not worse" the margin on
        the worse side."""
        if self.claim.evidence != "non_inferior":
            return 0.0
        return self.claim.margin.value * (-1 if self.claim.direction == "higher" else 1)

    def lives(self, side: Side) -> list[survival.Life]:
        """One arm of a survival claim in the order of its rounds."""
        found = (side.life(seed) for seed in self.seeds)
        return [life for life in found if life is not None]

    def looks(self, alpha: float) -> list[survival.Look]:
        """The planned looks of a survival claim that its complete rounds allow, held to `alpha`."""
        plan = self.claim.survival
        assert plan is not None, "looks belong to survival claims"
        return survival.planned_looks(
            *(self.lives(side) for side in self.sides),
            looks=plan.looks,
            rounds=len(plan.seeds),
            level=alpha,
            longer=self.claim.direction == "higher",
            sides=plan.sides,
        )

    # -- what is there and what is not

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """A sentence for every number that should be there and is not."""
        absent = tuple(f"no results of {side.name}" for side in self.sides if not side.there)
        if absent:
            return absent
        if not self.varied:
            return (f"{self.treatment.name} and {self.control.name} have one value each, no seeds",)
        if self.claim.survival is not None:
            return () if self.seeds else ("no round has a finished run of both arms",)
        if not self.seeds:
            return (f"{self.treatment.name} and {self.control.name} share no seed",)
        if self.claim.looks and len(self.shared) < self.claim.looks[-1]:
            return (
                f"{self.treatment.name} and {self.control.name} share {len(self.shared)} seeds, "
                f"and the last look of the claim is at {self.claim.looks[-1]}",
            )
        sentences = (self._absence(side, seed) for seed in self.seeds for side in self.sides)
        return tuple(dict.fromkeys(sentence for sentence in sentences if sentence))

    def _absence(self, side: Side, seed: int) -> str | None:
        if self.value(side, seed) is not None:
            return None
        content = side.stored(seed)
        if self.ranked and content is not None and content["outcome"] in DEAD:
            return None
        run = side.name if side.has_one_value else f"{side.name} s{seed}"
        if content is None:
            return f"{run} is missing"
        if content["outcome"] == "failed":
            return f"{run} failed ({content['cause'] or 'no cause recorded'})"
        checkpoint, _, path = self.claim.metric.partition(".")
        reason = lookup(block(content, checkpoint) or {}, ("reasons", path))
        return f"{run} has no {self.claim.metric} ({reason or 'no such reconstruction'})"

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


def make_comparison(
    claim: Claim, arms: Mapping[str, ArmResults], rows: Mapping[str, Row]
) -> Comparison:
    """The claim with what is stored of its arms and, by `rows`, what was asked of them."""
    treatment, control = (
        Side(name, rows.get(name), arms.get(name))
        for name in (claim.arms.treatment, claim.arms.control)
    )
    if claim.bound is not None:
        control = Side(claim.arms.control, None, None, claim.bound)
    return Comparison(claim, treatment, control)
