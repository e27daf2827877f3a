"""Power of a claim before its runs, with the spread or rates of comparable stored runs.

The true effect is assumed to equal the margin, or to be zero for equality and for "not worse by
more than the margin", whose limit is then one margin away. Without comparable stored runs the power
of a claim about means is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.evidence import statistics
from study.evidence.arms import ArmResults, factors
from study.evidence.claims import Claim
from study.evidence.comparison import Comparison, Side
from study.evidence.format import counted, fmt, join_words
from study.evidence.pipelines import Declared
from study.settings import Arm, Row

LEAST_POWER = 0.5
USUAL_POWER = 0.8
FEWEST_PAIRS = 3  # smallest sample from which a spread is estimated
MOST_PAIRS = 10_000
MOST_RUNS = 200


@dataclass(frozen=True)
class Background:
    """Background for checking claims: stored results, declared arms and data sets, and claims that
    are only reported (`exempt`: id -> reason)."""

    arms: Mapping[str, ArmResults]
    declared: Declared
    exempt: Mapping[str, str]


@dataclass(frozen=True)
class ExpectedPower:
    """The power of a claim with its seeds, and the number of seeds for a power of 0.5 and 0.8.

    `value`: None if unknown; `basis`: how it was estimated, or why it is unknown.
    """

    value: float | None
    basis: str
    for_half: int | None = None
    for_usual: int | None = None


def expected_power(comparison: Comparison, level: float, known: Background) -> ExpectedPower:
    """The power of a claim at this level; unknown for survival claims."""
    claim = comparison.claim
    if claim.survival is not None:
        return ExpectedPower(None, "the power of a survival claim is not computed")
    if claim.evidence == "failure_rate":
        return _power_of_rates(comparison, level, known)
    spread = _spread(comparison, known)
    if spread is None:
        return ExpectedPower(None, f"no comparable stored runs have {claim.metric}")
    deviation, basis = spread
    margin = claim.margin.value
    # A one-sided claim is decided by the interval at 1 - 2 alpha, as in verdicts.py.
    risk = 2 * level if comparison.one_sided else level

    def power(n: int) -> float:
        if deviation == 0:
            return 1.0
        if claim.direction == "equal":
            return statistics.power_to_agree(margin, 0.0, deviation, n, level)
        return statistics.power_to_differ(margin, deviation, n, risk)

    return _found(power, claim.needed_seeds, MOST_PAIRS, f"spread {fmt(deviation, 3)} {basis}")


def _found(power: Callable[[int], float], n: int, most: int, basis: str) -> ExpectedPower:
    value = power(n)

    def least(aim: float) -> int | None:
        return n if value >= aim else statistics.least_n(lambda k: power(k) >= aim, n, most)

    return ExpectedPower(value, basis, least(LEAST_POWER), least(USUAL_POWER))


def _power_of_rates(comparison: Comparison, level: float, known: Background) -> ExpectedPower:
    """Power of a claim about failure rates.

    The rate of the control is the stored one; without comparable runs, the most favourable one.
    """
    claim, margin = comparison.claim, comparison.claim.margin.value
    anchor = _stored_or_nearest(comparison.control, known)
    sign = 1 if claim.direction == "higher" else -1
    if anchor is None:
        rates = (0.0, min(1.0, margin))
        basis = "at the control's rate that makes it easiest (no comparable stored runs)"
    else:
        runs = len(anchor.seeds)
        failed = runs - len(anchor.with_outcome("ok"))
        rates = (failed / runs, failed / runs + sign * margin)
        basis = f"{failed} of {runs} stored runs of {anchor.name} failed or collapsed"
        if not 0 <= rates[1] <= 1:
            way = "above" if sign > 0 else "below"
            return ExpectedPower(0.0, f"{basis}, and no rate lies {fmt(margin)} {way} that")

    def power(n: int) -> float:
        # Boschloo's test has at least this power; computing its own power would take minutes.
        return statistics.fisher_power(rates, n, level)

    return _found(power, claim.needed_seeds, MOST_RUNS, basis)


def low_power_problem(claim: Claim, level: float, power: ExpectedPower) -> str | None:
    if power.value is None or power.value >= LEAST_POWER:
        return None
    noun, most = ("run", MOST_RUNS) if claim.evidence == "failure_rate" else ("pair", MOST_PAIRS)
    if power.value == 0.0 and power.for_half is None:
        return f"no number of runs shows a difference of its margin: {power.basis}"
    unit = f" {claim.column.unit}" if claim.column.unit else ""
    needs = [
        f"{'more than ' + str(most) if n is None else n} for {fmt(aim)}"
        for n, aim in ((power.for_half, LEAST_POWER), (power.for_usual, USUAL_POWER))
    ]
    return (
        f"its power is {fmt(power.value, 2)} with {counted(claim.needed_seeds, noun)} at level "
        f"{fmt(level)} and margin {fmt(claim.margin.value)}{unit} ({power.basis}), at least "
        f"{fmt(LEAST_POWER)} is accepted; it needs {' and '.join(needs)}"
    )


def _spread(comparison: Comparison, known: Background) -> tuple[float, str] | None:
    """Estimated standard deviation of the differences, and the runs from which it is taken.

    It is taken from the claim's own pairs if there are enough; otherwise from the control's runs,
    paired with those of the most similar arms on the same data; for a comparison with a fixed
    value, from the runs of the arm or of the most similar one. None if there are none.
    """
    metric = comparison.claim.metric
    own = comparison.differences if comparison.seeds else []
    if len(own) >= FEWEST_PAIRS:
        return _deviation([own]), f"over its own {counted(len(own), 'pair')}"
    if comparison.fixed is not None:
        if not comparison.varied:
            return None  # two single values: there is neither a spread nor a test
        anchor = _stored_or_nearest(comparison.varied[0], known, metric)
        if anchor is None:
            return None
        values = list(anchor.values(metric).values())
        return _deviation([values]), f"over {counted(len(values), 'stored run')} of {anchor.name}"
    anchor = _stored_or_nearest(comparison.control, known, metric)
    if anchor is None:
        return None
    pairs = {
        name: differences
        for name, other in known.arms.items()
        if name != anchor.name
        and _is_network(other)
        and other.data_sha256 == anchor.data_sha256
        and len(differences := _differences(other, anchor, metric)) >= FEWEST_PAIRS
    }
    near = _nearest(anchor.row, {name: known.arms[name] for name in pairs})
    if not near:
        return None
    counts = sorted({len(pairs[name]) for name in near})
    each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    others = f"{'each of ' if near[1:] else ''}{join_words(near)}"
    basis = f"over {each} pairs of {anchor.name} with {others}"
    return _deviation([pairs[name] for name in near]), basis


def _deviation(samples: Sequence[Sequence[float]]) -> float:
    """Pooled standard deviation."""
    variances = [float(np.var(sample, ddof=1)) for sample in samples]
    freedom = [len(sample) - 1 for sample in samples]
    return math.sqrt(float(np.average(variances, weights=freedom)))


def _differences(arm: ArmResults, control: ArmResults, metric: str) -> list[float]:
    left, right = arm.values(metric), control.values(metric)
    return [left[seed] - right[seed] for seed in sorted(left.keys() & right.keys())]


def _stored_or_nearest(
    side: Side, known: Background, metric: str | None = None
) -> ArmResults | None:
    """The results of an arm or, if there are too few, of the most similar stored network.

    `metric`: a number that enough of its seeds must have.
    """
    row = side.row
    if side.results is not None and _enough(side.results, metric):
        return side.results
    if row is None:
        return None
    stored = {name: arm for name, arm in known.arms.items() if _enough(arm, metric)}
    near = _nearest(row, {name: arm for name, arm in stored.items() if _is_network(arm)})
    return known.arms[near[0]] if near else None


def _enough(arm: ArmResults, metric: str | None) -> bool:
    return len(arm.seeds if metric is None else arm.values(metric)) >= FEWEST_PAIRS


def _is_network(arm: ArmResults) -> bool:
    return arm.label == "arm" and isinstance(arm.row, Arm)


def _nearest(row: Row | None, arms: Mapping[str, ArmResults]) -> list[str]:
    """The arms that differ from `row` in the fewest factors."""
    if row is None:
        return []
    distances = {
        name: len(factors(row, arm.row)) for name, arm in arms.items() if arm.row is not None
    }
    least = min(distances.values(), default=0)
    return [name for name, distance in distances.items() if distance == least]
