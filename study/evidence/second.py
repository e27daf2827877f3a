"""Does the same contrast repeat on a second object? Seed spread is not data spread.

    repeated       the 95 % interval there leaves out zero on the same side; for rates the observed
                   ones are ordered the same way and the exact test gives p <= 0.05; where equality
                   was found the whole interval lies within the margin
    not repeated   anything else that ran, a failed gate or a missing seed there included
    not run        an arm has no results

One object more is a check and no test of its own: its level is 95 % whatever the claim's family.
The arms there must differ as the claim's own do, and each from the claim's own in `data` alone: a
shorter training on another object would be two changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from study.evidence import statistics
from study.evidence.arms import factors
from study.evidence.statistics import Interval
from study.evidence.trial import Side, Trial
from study.evidence.wording import counted, fmt, listed


@dataclass(frozen=True)
class Second:
    """What the second object says; `effect` is None where no number may be given."""

    status: Literal["repeated", "not repeated", "not run"]
    reason: str
    effect: Interval | None = None


def repeat(main: Trial, status: str, effect: Interval | None) -> Second | None:
    """The second object of a claim with `status` and `effect` on the first; None without one."""
    second = main.second
    if second is None:
        return None
    absent = [side.name for side in second.sides if side.results is None]
    if absent:
        return Second("not run", f"no results of {listed(absent)}")
    problem = "nothing was found on the first object" if effect is None else None
    problem = problem or _unlike(main, second) or _unfit(second)
    if problem or effect is None:
        return Second("not repeated", str(problem))
    found = effect_of(second, 1 - statistics.ALPHA)
    repeats = _repeats(second, status, effect.estimate, found)
    return Second("repeated" if repeats else "not repeated", _words(second, found), found)


def effect_of(trial: Trial, level: float) -> Interval:
    """Treatment minus control: the paired t interval, or the difference of two rates, which has
    none that agrees with the exact test."""
    if trial.claim.evidence == "mean_difference":
        return statistics.mean_interval(trial.differences, level)
    (failed, n), (others, m) = (trial.rate(side) for side in trial.sides)
    return Interval(failed / n - others / m, None, None, min(n, m), level)


def _unlike(main: Trial, second: Trial) -> str | None:
    """Why this is not the claim's contrast on another object, or None."""
    used = {content["data"]["sha256"] for _, content in main.runs}
    if used & {content["data"]["sha256"] for _, content in second.runs}:
        return "it ran on the data of the first object"
    ours, theirs = (_but_data(trial.changed) for trial in (main, second))
    if theirs is None:
        return "the settings of its seeds differ"
    if ours != theirs:
        return f"its arms differ in {listed(theirs)}, the claim's in {listed(ours or ())}"
    for first, other in zip(main.sides, second.sides, strict=True):
        if more := _more_than_data(first, other):
            return f"{other.name} differs from {first.name} in {listed(more)}, not in data alone"
    return None


def _more_than_data(first: Side, other: Side) -> list[str]:
    if first.row is None or other.row is None:
        return []
    return sorted(set(factors(first.row, other.row)) - {"data"})


def _but_data(changed: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if changed is None:
        return None
    return {name: values for name, values in sorted(changed.items()) if name != "data"}


def _unfit(second: Trial) -> str | None:
    reasons = [str(gate.reason) for gate in second.failed_gates] or list(second.missing)
    return "; ".join(reasons) or None


def _repeats(second: Trial, status: str, first: float, found: Interval) -> bool:
    same_side = found.estimate * first > 0
    if second.claim.evidence == "failure_rate":
        return same_side and _rate_p(second) <= statistics.ALPHA
    if found.low is None or found.high is None:
        return False
    margin = second.claim.margin.value
    if status == "equivalent" or (second.claim.direction == "equal" and status == "supported"):
        return statistics.equivalent(found, margin)
    bound = margin if second.claim.direction == "equal" else 0.0
    return same_side and (found.low > bound or found.high < -bound)


def _rate_p(second: Trial) -> float:
    treatment, control = (second.rate(side) for side in second.sides)
    return statistics.fisher_p(treatment, control)


def _words(second: Trial, found: Interval) -> str:
    names = f"{second.treatment.name} minus {second.control.name}: {fmt(found.estimate)}"
    if second.claim.evidence == "failure_rate":
        return f"{names}, exact p = {fmt(_rate_p(second), 2)}"
    noun = "pair" if second.fixed is None else "seed"
    if found.low is None:
        return f"{names}; {counted(found.n, noun)} has no interval"
    return f"{names} [{fmt(found.low)}, {fmt(found.high)}], {counted(found.n, noun)}"
