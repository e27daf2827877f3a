"""A claim with its evidence: compared arms, and available and missing results.

Design choices
- A claim is judged by the settings that ran (they are in each seed's JSON), not by those now in
  params.yaml; if these differ, a comparability check fails (`study.evidence.comparability`).
- A failed run is evidence, not a missing value: all declared seeds are accounted for. In a claim
  about means it ranks below all finished runs (`study.evidence.ranking`).
- A claim with `looks` is judged by its first seeds in ascending order, as many as the latest
  planned look requires. Later results are not used before the next look.
- A baseline on a data set with a single object has one value. The seeds of a network are compared
  with it individually, which is called a one-sample comparison; failure rates, and two such
  baselines, cannot be compared. If objects are drawn per seed, a baseline has one value per seed
  and is paired like a network.
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
    """One side of a contrast: an arm with its requested settings (`asked`) and stored results, or a
    number (`bound`)."""

    name: str
    asked: Row | None
    results: ArmResults | None
    bound: float | None = None

    @cached_property
    def row(self) -> Row | None:
        """The settings that ran; without results, the requested ones."""
        return self.asked if self.results is None else self.results.row

    @cached_property
    def is_baseline(self) -> bool:
        return self.row is not None and not isinstance(self.row, Arm)

    @cached_property
    def has_one_value(self) -> bool:
        """Whether this is a baseline with one run or a bound, which is compared with each seed."""
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
        """Mean duration of a run in s; None if none was measured."""
        measured = {} if self.results is None else self.results.values("training.seconds")
        return sum(measured.values()) / len(measured) if measured else None

    def stored(self, seed: int) -> Mapping[str, Any] | None:
        """The JSON of a seed, or None; for a baseline with one value, always that one."""
        if self.results is None:
            return None
        if self.has_one_value:
            return next(iter(self.results.seeds.values()))
        return self.results.seeds.get(seed)

    def life(self, seed: int) -> survival.Life | None:
        """The lifetime of a survival run; None if there is no such run."""
        facts = lookup(self.stored(seed) or {}, (SURVIVAL,))
        return survival.Life(facts["epochs"], facts["event"]) if facts else None


@dataclass(frozen=True)
class Comparison:
    """A claim with its evidence. `look`: number of pairs of the planned look at which a claim with
    `looks` is judged, None for the latest complete look."""

    claim: Claim
    treatment: Side
    control: Side
    look: int | None = None

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.treatment, self.control

    @cached_property
    def varied(self) -> tuple[Side, ...]:
        """The sides with one value per seed."""
        return tuple(side for side in self.sides if not side.has_one_value)

    @cached_property
    def fixed(self) -> Side | None:
        """The side with a single value, or None."""
        return next((side for side in self.sides if side.has_one_value), None)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds on which the claim is judged: those declared by all sides with values per seed.

        For a survival claim: the seeds of complete rounds, up to the first that an arm lacks.
        """
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
        """Seeds declared by all sides with values per seed, in ascending order."""
        varied = [set(side.declared) for side in self.varied]
        shared = set.intersection(*varied) if varied else set(self.control.declared)
        return tuple(sorted(shared))

    @cached_property
    def complete(self) -> int:
        """Number of leading shared seeds for which both arms have a run."""
        whole = (all(side.stored(seed) for side in self.varied) for seed in self.shared)
        return sum(1 for _ in takewhile(bool, whole))

    @property
    def looks_there(self) -> tuple[int, ...]:
        """The planned looks of a claim about means for which there are enough runs."""
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
        """(treatment, control) for each seed that has both numbers."""
        found = [tuple(self.value(side, seed) for side in self.sides) for seed in self.seeds]
        return tuple((t, c) for t, c in found if t is not None and c is not None)

    @cached_property
    def ranked(self) -> bool:
        """Whether the arms are compared by rank: in claims about means with a dead run, if the
        metric has a better direction."""
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
        """Number of pairs on which the claim is judged; by rank, including pairs with dead runs."""
        if not self.ranked:
            return len(self.pairs)
        return sum(all(side.stored(seed) for side in self.varied) for seed in self.seeds)

    @cached_property
    def rank_gaps(self) -> list[float]:
        """By how much the treatment is better in each pair, with dead runs last; for "not worse"
        claims relative to the margin."""
        pairs: list[ranking.Pair] = []
        for seed in self.seeds:
            treatment, control = (self.value(side, seed) for side in self.sides)
            pairs.append((None if treatment is None else treatment - self.limit, control))
        return ranking.pair_gaps(pairs, self.claim.column.better == "lower")

    @cached_property
    def rank_ps(self) -> tuple[float, float]:
        """One-sided exact p values of the ranks, for the hypotheses that the treatment is not
        better and that it is not worse. 1 where an arm with dead runs would be found better than
        one without."""
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
        """p of the ranks for the claim: two-sided for a claimed difference."""
        if self.claim.evidence == "mean_difference":
            return min(1.0, 2 * min(self.rank_ps))
        return self.rank_ps[0 if self.claimed_better else 1]

    @property
    def one_sided(self) -> bool:
        """Whether a limit decides the claim: a goal, or "not worse by more than the margin"."""
        return self.claim.evidence in ("non_inferior", BOUND)

    @property
    def claimed_better(self) -> bool:
        """Whether the claimed direction is the better direction of the metric."""
        return self.claim.direction == self.claim.column.better

    @cached_property
    def differences(self) -> list[float]:
        return [treatment - control for treatment, control in self.pairs]

    def value(self, side: Side, seed: int) -> float | None:
        """The number of a run for the claim, or None; for failure rates 1 if the run is not ok."""
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
        """(failed or collapsed runs, all runs) of one arm."""
        values = [self.value(side, seed) for seed in self.seeds]
        known = [value for value in values if value is not None]
        return int(sum(known)), len(known)

    @cached_property
    def changed(self) -> dict[str, tuple[Scalar, Scalar]] | None:
        """Factors in which the arms differ; None if unknown."""
        left, right = self.control.row, self.treatment.row
        return None if left is None or right is None else factors(left, right)

    @cached_property
    def rate_p(self) -> float:
        """Exact two-sided p of equal failure rates, by the test of the claim."""
        test = statistics.RATE_TESTS[self.claim.test].p
        return test(self.rate(self.treatment), self.rate(self.control))

    @property
    def test_p(self) -> float | None:
        """p of the t test for a claim about means; None for fewer than two pairs."""
        if self.claim.direction == "equal":
            return statistics.equivalence_p(self.differences, self.claim.margin.value)
        if self.one_sided:
            return statistics.one_sided_p(
                self.differences, self.limit, self.claim.direction == "higher"
            )
        return statistics.paired_p(self.differences)

    @property
    def limit(self) -> float:
        """The difference that separates met from missed: zero, or the margin on the worse side for
        "not worse" claims."""
        if self.claim.evidence != "non_inferior":
            return 0.0
        return self.claim.margin.value * (-1 if self.claim.direction == "higher" else 1)

    def lives(self, side: Side) -> list[survival.Life]:
        """Lifetimes of one arm of a survival claim, in the order of its rounds."""
        found = (side.life(seed) for seed in self.seeds)
        return [life for life in found if life is not None]

    def looks(self, alpha: float) -> list[survival.Look]:
        """The planned looks of a survival claim for which there are enough rounds, at level
        `alpha`."""
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

    # -- available and missing results

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """A sentence per missing number or result."""
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
        """(name, JSON) of all stored runs of the contrast, including failed ones."""
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
    """Combine a claim with the stored results of its arms and their requested settings (`rows`)."""
    treatment, control = (
        Side(name, rows.get(name), arms.get(name))
        for name in (claim.arms.treatment, claim.arms.control)
    )
    if claim.bound is not None:
        control = Side(claim.arms.control, None, None, claim.bound)
    return Comparison(claim, treatment, control)
